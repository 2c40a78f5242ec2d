// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"fmt"
	"strings"

	"github.com/moby/buildkit/solver/pb"
)

func (d *dumper) exec(e *pb.ExecOp) {
	for _, arg := range e.Meta.Args {
		d.line("arg", quoted(arg))
	}
	d.line("cwd", quoted(e.Meta.Cwd))
	d.text("user", e.Meta.User)
	d.text("hostname", e.Meta.Hostname)
	for _, v := range e.Meta.Env {
		d.line("env", quoted(v))
	}
	network := lower(e.Network.String())
	if e.Network == pb.NetMode_UNSET {
		network = "the engine's default"
	}
	d.line("network", network)
	d.line("security", lower(e.Security.String()))
	for _, m := range e.Mounts {
		d.line("mount", d.mount(m))
	}
	for _, s := range e.Secretenv {
		d.line("secret", quoted(s.Name+" = "+s.ID))
	}
}

func (d *dumper) mount(m *pb.Mount) string {
	words := []string{word(m.Dest), "from", d.input(m.Input)}
	if m.Selector != "" {
		words[2] += ":" + word(m.Selector)
	}
	if m.MountType != pb.MountType_BIND {
		words = append(words, "type", lower(m.MountType.String()))
	}
	if m.Readonly {
		words = append(words, "read-only")
	}
	if m.ContentCache == pb.MountContentCache_OFF {
		words = append(words, "no-content-key")
	}
	if m.Output >= 0 {
		words = append(words, "output", fmt.Sprint(m.Output))
	}
	return strings.Join(words, " ")
}

func (d *dumper) file(f *pb.FileOp) {
	for i, a := range f.Actions {
		d.line(fmt.Sprintf("action %d", i), d.action(a))
	}
}

// action writes one file action. Inputs from the number of inputs on are the
// results of earlier actions of the same operation.
func (d *dumper) action(a *pb.FileAction) string {
	text := "on " + d.actionInput(a.Input) + ": "
	switch o := a.Action.(type) {
	case *pb.FileAction_Copy:
		text += "copy " + d.actionInput(a.SecondaryInput) + ":" + word(o.Copy.Src) + " to " + word(o.Copy.Dest)
		if o.Copy.DirCopyContents {
			text += ", contents"
		}
		for _, p := range o.Copy.IncludePatterns {
			text += "\n" + indent + "include " + quoted(p)
		}
		for _, p := range o.Copy.ExcludePatterns {
			text += "\n" + indent + "exclude " + quoted(p)
		}
		text += time(o.Copy.Timestamp)
	case *pb.FileAction_Mkfile:
		text += fmt.Sprintf("write %s, mode %04o%s\n%s%s", word(o.Mkfile.Path), o.Mkfile.Mode,
			time(o.Mkfile.Timestamp), indent, quoted(string(o.Mkfile.Data)))
	case *pb.FileAction_Mkdir:
		text += fmt.Sprintf("make folder %s, mode %04o%s", word(o.Mkdir.Path), o.Mkdir.Mode, time(o.Mkdir.Timestamp))
	case *pb.FileAction_Symlink:
		text += "link " + word(o.Symlink.Newpath) + " to " + word(o.Symlink.Oldpath) + time(o.Symlink.Timestamp)
	case *pb.FileAction_Rm:
		text += "remove " + word(o.Rm.Path)
	default:
		text += "unknown"
	}
	return text
}

const indent = "            "

func (d *dumper) actionInput(i int64) string {
	if n := int64(len(d.inputs)); i >= n {
		return fmt.Sprintf("action %d", i-n)
	}
	return d.input(i)
}

// time says which time an action gives to what it makes; -1 leaves it.
func time(nanoseconds int64) string {
	if nanoseconds < 0 {
		return ""
	}
	return fmt.Sprintf(", time %d", nanoseconds/1e9)
}

func lower(s string) string { return strings.ToLower(s) }
