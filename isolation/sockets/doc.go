// SPDX-License-Identifier: Apache-2.0

// Package sockets keeps what is to have no network, or one that is recorded, from
// the sockets that a network namespace does not hold: those of AF_VSOCK, by which a
// virtual machine talks to its host, and a host to its machines, reach the same in
// every namespace (vsock(7); Linux 7.0 can keep them apart, and does not by default).
package sockets
