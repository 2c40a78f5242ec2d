// SPDX-License-Identifier: Apache-2.0

// Package buildkitd is the embedded engine: BuildKit linked into a process of
// our own, with one worker that runs steps in containers by runc or crun.
//
// Start with [Run]; [Contain] comes before it and gives the process
// namespaces of its own. Package launch, below, starts the process and asks
// it questions; the program around both is cmd/attest-buildkitd.
//
// The engine keeps to its state folder: a lock that makes it the only one
// there, two unix sockets for this user alone, a log, and BuildKit's own
// state. It listens on no network address. What it stores only speeds up the
// next run; the folder may be deleted whenever the engine does not run.
package buildkitd
