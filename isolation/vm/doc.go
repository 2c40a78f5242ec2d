// SPDX-License-Identifier: Apache-2.0

// Package vm runs a step in a virtual machine: what would be a container of an
// OCI runtime gets a kernel of its own instead of a share of this host's.
//
// Start with [Find], which looks for what the host must have (qemu, virtiofsd, a
// kernel) and says what to install, and [Host.Run], which boots a machine for
// one command and waits for its end. [Settings] is what an engine is told about
// the machine of a step, as text that travels with the step's definition and
// never through the step.
//
// A machine is qemu's microvm with a kernel of the distribution's. Its root file
// system is the folder that is given, mounts and all, shared by one virtiofsd, but
// for files that lie in memory here, which it gets into its own; there is no disk,
// and no network device unless one is asked for. The initial RAM disk is made here,
// from the kernel's modules and attest-guest (package guest, below), which starts
// the command and sends back what it prints and how it ends over a virtio port of
// its own.
//
// Three things keep a step in: the container that attest-guest makes inside, as
// strict as the one that it would have had outside; the machine; and around
// the machine what is done to qemu and virtiofsd. qemu runs as a user that owns
// nothing, in namespaces of its own, in a root folder that has nothing but
// programs and the kernel in it, under qemu's own seccomp filter. virtiofsd, which
// must write files of any owner, is confined to the shared folder by its own
// namespaces and filter. All sockets between the three are inherited: none has a
// path.
//
// The machine ends with the process that started it, however that dies: both
// programs are killed by the kernel then.
package vm
