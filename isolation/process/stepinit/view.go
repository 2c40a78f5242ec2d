// SPDX-License-Identifier: Apache-2.0

package stepinit

// View is what a step sees of the file system in place of what the machine has.
// Paths are absolute and clean; where Dir is empty there is no view, and the
// others mean nothing.
type View struct {
	// Dir holds the folders Upper and Tmp, and Work for the kernel.
	Dir string
	// Project is the project's folder. What the step writes to it goes to
	// Upper; what the kernel marks there as gone, the step does not see.
	Project string
	// Home is a folder to which the step may write, and what it writes there is
	// lost with it; empty for none.
	Home string
	// HomeEmpty says that the step sees nothing of what Home holds.
	HomeEmpty bool
	// Writable are folders that are open to writing as they are.
	Writable []string
}

// The names of what View.Dir holds.
const (
	Upper = "upper"
	Work  = "work"
	Tmp   = "tmp"
)

// What a [Report] can name as in force, beside the namespaces.
const (
	ControlHomePrivate = "home-private"
	ControlHostLocked  = "host-read-only"
	ControlNoNetwork   = "network-none"
	ControlNoNewPrivs  = "no-new-privileges"
	ControlProject     = "project-overlay"
	ControlTmpPrivate  = "tmp-private"
)

// strings returns the view as a list, for [parseView].
func (v View) strings() []string {
	flags := ""
	if v.HomeEmpty {
		flags += "e"
	}
	return append([]string{v.Dir, v.Project, v.Home, flags}, v.Writable...)
}

func parseView(list []string) (v View, ok bool) {
	const fixed = 4
	if len(list) < fixed {
		return View{}, false
	}
	v = View{Dir: list[0], Project: list[1], Home: list[2]}
	for _, flag := range list[3] {
		switch flag {
		case 'e':
			v.HomeEmpty = true
		default:
			return View{}, false
		}
	}
	if len(list) > fixed {
		v.Writable = list[fixed:]
	}
	return v, true
}
