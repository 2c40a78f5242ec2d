// SPDX-License-Identifier: Apache-2.0

// Package stepinit is what stands between attest and the command of a process
// step: a program of its own, cmd/attest-init, because it starts for every step
// and attest is too large for that.
//
// Start with [Main]. The program has two parts, told apart by its name:
//
// The keeper is one process for all steps of a run, in a user namespace of its
// own. For every step it starts an init. It is there because of what making a
// process costs: Linux copies the page tables of whoever starts one in a new
// user namespace (2.5 ms for an attest of 30 MB, 9 ms for one of 150 MB), and
// copies nothing where the user namespace stays the same.
//
// An init is the first process of a step, in a PID and a mount namespace of its
// own. It arranges the step's file system, starts the command without the
// privileges to change that, reaps, and ends when the command has ended or the
// other end of its connection is closed; the kernel then ends what is left.
//
// They share nothing with attest but descriptors: the keeper gets a [Request]
// and a connection for every step, over which the init gets an [Order] and
// answers with a [Report]. The connection is at its end when the init is gone,
// and everything with it.
//
// The package imports little, and must go on doing so: what it imports is
// started for every step.
package stepinit

// Version is what both ends must agree on. It changes with everything that an
// end expects of the other, and with what an init protects.
const Version = "7"

// The names, argv[0], by which the program knows its part.
const (
	KeeperName = "attest-step-keeper"
	InitName   = "attest-step-init"
)

// InNamespaces is the argument of a keeper that is in a user and a mount
// namespace of its own, and Closed that of one whose steps in addition write to
// nothing but what their [View] opens.
const (
	InNamespaces = "in-namespaces"
	Closed       = "closed"
)

// Is reports whether a program with these arguments was started to be a keeper
// or an init, and must call [Main] and nothing else.
func Is(args []string) bool {
	return len(args) > 0 && (args[0] == KeeperName || args[0] == InitName)
}
