// SPDX-License-Identifier: Apache-2.0

// Package buildkitd is the embedded engine: BuildKit linked into a process of
// our own, with one worker that runs steps in containers by runc or crun.
//
// Start with [Run]; [Contain] and [Settle] come before it and give the process
// namespaces of its own, so that its death, however it comes, is the end of
// every process and every mount that it made. Package launch, below, starts
// the process and asks it questions; the program around both is
// cmd/attest-buildkitd.
//
// The engine keeps to its state folder: a lock that makes it the only one
// there, two unix sockets for this user alone, a log, and BuildKit's own
// state. It listens on no network address, and answers no frontend but
// gateway.v0. What it stores only speeds up the next run, at most 20 GB or a
// tenth of the disk; the folder may be deleted whenever the engine does not
// run.
//
// A step without a network has a loopback interface and nothing else. A step
// whose network is open is in the network of this host, whose loopback
// services it can reach; receipts show that the control network-none was not
// in force. A step whose network is recorded reaches BuildKit's proxy and
// nothing else: recorded_linux.go makes it, door_linux.go is the step's way to
// the proxy, egress_linux.go the proxy's way out, and fetchlog_linux.go sees to
// it that what is stated is everything. It needs no network plugins and no
// firewall rules of this host.
package buildkitd
