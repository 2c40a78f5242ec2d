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
	// Order is in which order folders of the project list what is in them: one of
	// the below, or empty for that of the file system.
	Order string
	// Alias is another path at which the step finds the project, in a folder of
	// its own; empty for none.
	Alias string
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

// What a Report can name of Landlock begins with these, and ends with the version
// of the kernel's interface.
const (
	ControlLandlockFiles = "landlock-files-abi-"
	ControlLandlockScope = "landlock-scope-abi-"
)

// The orders of a [View].
const (
	OrderSorted   = "sorted"
	OrderReversed = "reversed"
)

// What a [Report] can name besides, of a [World].
const (
	DidHostname = "hostname"
	DidOrder    = "order"
	DidAlias    = "alias"
	DidPIDs     = "pids"
)

// strings returns the view as a list, for [parseView].
func (v View) strings() []string {
	flags := ""
	if v.HomeEmpty {
		flags += "e"
	}
	return append([]string{v.Dir, v.Project, v.Home, v.Order, v.Alias, flags}, v.Writable...)
}

func parseView(list []string) (v View, ok bool) {
	const fixed = 6
	if len(list) < fixed {
		return View{}, false
	}
	v = View{Dir: list[0], Project: list[1], Home: list[2], Order: list[3], Alias: list[4]}
	for _, flag := range list[5] {
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
