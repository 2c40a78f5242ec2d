// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"strconv"
	"time"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

// machineMemory is what a machine has for its kernel, besides what the step is
// given.
const machineMemory = 128 << 20

// Descriptors of qemu, after the three that every program has.
const (
	controlFile = 3
	fsFile      = 4
)

// hardware is what a machine consists of.
type hardware struct {
	accelerator string
	cpus        int
	memory      int64 // bytes, of the step
	shared      bool  // with a shared file system
	network     bool
	namespace   string // of the network; empty is this host's
	clock       int64  // seconds since 1970; 0 is the host's time
	tscKHz      uint64 // see tscKHz
	seeded      bool   // nothing random of this host's
	kernel      string // its version
}

// arguments are qemu's. No value in them comes from a step or from a pipeline
// but numbers.
func (h hardware) arguments() []string {
	size := strconv.FormatInt((h.memory+machineMemory+(1<<20-1))>>20, 10) + "M"
	cpu := "max"
	if h.accelerator == KVM {
		cpu = "host"
	}
	if h.seeded {
		cpu += ",-rdrand,-rdseed" // which programs ask for random numbers, without the kernel
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "microvm,acpi=on,rtc=on,graphics=off,dump-guest-core=off,memory-backend=memory",
		"-global", "virtio-mmio.force-legacy=false",
		"-accel", h.accelerator,
		"-cpu", cpu,
		"-smp", strconv.Itoa(h.cpus),
		"-m", size,
		"-object", "memory-backend-memfd,id=memory,share=on,size=" + size,
		"-chardev", "stdio,id=serial,signal=off",
		"-serial", "chardev:serial",
		"-device", "virtio-serial-device",
		"-chardev", fmt.Sprintf("socket,id=control,fd=%d", controlFile),
		"-device", "virtserialport,chardev=control,name=" + guest.Port,
		"-kernel", stageKernel,
		"-initrd", stageInitrd,
		"-append", h.kernelLine(),
		"-rtc", h.clockArgument(),
	}
	if h.shared {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=fs,fd=%d", fsFile),
			"-device", "vhost-user-fs-device,queue-size=1024,chardev=fs,tag="+guest.RootTag)
	}
	if h.network {
		args = append(args,
			"-netdev", "user,id=net,ipv6=off",
			"-device", "virtio-net-device,netdev=net")
	}
	return args
}

// kernelLine is what the kernel is told. What protects processes of one user
// from another's is left out: a machine has one user's.
func (h hardware) kernelLine() string {
	line := "console=ttyS0 quiet reboot=t panic=-1 oops=panic mitigations=off nokaslr random.trust_cpu=on net.ifnames=0"
	if h.accelerator == TCG {
		line += " tsc=reliable tsc_early_khz=" + strconv.FormatUint(h.tscKHz, 10)
	}
	if h.seeded && compareVersions(h.kernel, randomVDSO) >= 0 {
		line += " vdso=0"
	}
	return line
}

// randomVDSO is the first kernel that has programs make random numbers themselves,
// without a system call that could be answered otherwise.
const randomVDSO = "6.11"

// clockArgument makes the machine's clock start at a fixed time and run with
// the machine, or be the host's.
func (h hardware) clockArgument() string {
	if h.clock == 0 {
		return "base=utc,clock=host"
	}
	return "clock=vm,base=" + time.Unix(h.clock, 0).UTC().Format("2006-01-02T15:04:05")
}
