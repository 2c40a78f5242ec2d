// SPDX-License-Identifier: Apache-2.0

// Package guest is what runs inside a virtual machine: the body of attest-guest,
// which is the only program of the machine's initial RAM disk, and the messages
// that it exchanges with the host.
//
// [Main] is called twice. The kernel starts it as the first process: it loads
// the modules that lie beside it, finds the control port, says that it is
// ready, reads one [Order] and mounts the shared file system. It then starts
// itself again as the first process of a PID namespace, where the second call
// makes a container of the shared tree, gives up every privilege that the order
// does not grant, and becomes the command. The two are all there is: no shell,
// no other service. Where the order has a seed, the first one goes on to answer who
// asks for random numbers, see stream.
//
// The step cannot speak on the control port: its file system has no device
// nodes that work but the harmless ones, it has no capability to make mounts or
// to reach other processes, and the port is open in the first process, which a
// kernel allows one to do once.
//
// What comes out of a guest is believed by the host as far as the guest's
// kernel is: a step that breaks it can claim any exit code and any output, as
// it could by printing it, and stays inside the machine.
package guest
