// SPDX-License-Identifier: Apache-2.0

package stepinit

// Call says where a system call that names a file has its arguments.
type Call struct {
	Kind CallKind
	// Path is the argument that points to the name.
	Path int
	// Dir is the argument with the folder that a relative name begins at; -1 for
	// the working directory.
	Dir int
	// Flags is the argument with flags, -1 where there is none. How says that it
	// points to a struct open_how, of which they are the first field.
	Flags int
	How   bool
	// NoFollow says that a link at the end is itself meant, whatever the flags.
	NoFollow bool
	// Empty says that with AT_EMPTY_PATH the call is about a descriptor, which
	// programs ask for so often that these calls are not told.
	Empty bool
}

// CallKind says what a [Call] does with the file.
type CallKind byte

// The kinds of calls.
const (
	CallOpen   CallKind = 1 + iota // flags are those of open
	CallCreate                     // creat
	CallLook                       // flags are those of the *at calls
	CallExec
	CallEnter  // makes it the working directory
	CallMake   // makes something of that name
	CallRoot   // gives the process another root: names mean something else from then on
	CallUnseen // begins something whose names cannot be seen
)

// CallKey tells one system call from all others.
type CallKey struct {
	Arch   uint32 // AUDIT_ARCH_*
	Number uint32
}

const workingDir = -1

// at returns a call with a folder, a name and flags; flags is -1 for none.
func at(kind CallKind, dir, path, flags int) Call {
	return Call{Kind: kind, Dir: dir, Path: path, Flags: flags}
}

// plain returns a call with a name that begins at the working directory.
func plain(kind CallKind, path int) Call {
	return Call{Kind: kind, Dir: workingDir, Path: path, Flags: -1}
}

func noFollow(c Call) Call { c.NoFollow = true; return c }
func empty(c Call) Call    { c.Empty = true; return c }
