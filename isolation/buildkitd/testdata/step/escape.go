// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// escape tries what a step must not be able to do, and prints what came of each
// attempt. None does harm should it succeed: it changes nothing, or nothing
// outside of the step's own namespaces.
func escape() {
	runtime.LockOSThread()
	for _, a := range append(append(attempts(), machine()...), files()...) {
		err := a.try()
		fmt.Printf("attempt: %s: %v\n", a.name, err)
	}
}

type attempt struct {
	name string
	try  func() error
}

// attempts are on the step's own confinement.
func attempts() []attempt {
	return []attempt{
		{"mount", func() error { return unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, "") }},
		{"bind mount", func() error { return unix.Mount("/bin", "/dev/shm", "", unix.MS_BIND, "") }},
		{"remount the root", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
		{"unmount", func() error { return unix.Unmount("/dev/shm", 0) }},
		{"new mount interface", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }},
		{"pivot root", func() error { return unix.PivotRoot("/dev/shm", "/dev/shm") }},
		{"change root", func() error { return unix.Chroot("/dev/shm") }},
		{"a user namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"a mount namespace", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"join a namespace", func() error {
			f, err := os.Open("/proc/self/ns/uts")
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Setns(int(f.Fd()), 0)
		}},
		{"host name", func() error { return unix.Sethostname([]byte("attest")) }},
		{"device", func() error { return unix.Mknod("/dev/shm/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }},
		{"file by handle", func() error {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDONLY)
			return err
		}},
		{"add a capability", func() error {
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			data[0].Effective, data[0].Permitted = 1<<unix.CAP_SYS_ADMIN, 1<<unix.CAP_SYS_ADMIN
			return unix.Capset(&head, &data[0])
		}},
		{"raise a limit", func() error {
			return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
		}},
		{"be spared when memory ends", func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) }},
		{"real-time scheduling", func() error {
			return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		}},
		{"higher priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -10) }},
		{"raw socket", func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }},
		{"packet socket", func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }},
		{"low port", func() error { return listen("127.0.0.1:1") }},
	}
}

// machine are attempts on what all share.
func machine() []attempt {
	syscall0 := func(number uintptr, args ...uintptr) error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
	junk := unsafe.Pointer(&[64]byte{})
	return []attempt{
		{"set the clock", func() error {
			var now unix.Timespec // to what it is
			if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
				return err
			}
			return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
		}},
		{"adjust the clock", func() error { _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: 10000}); return err }},
		{"load a module", func() error { return unix.InitModule([]byte("no module"), "") }},
		{"remove a module", func() error { return unix.DeleteModule("attest_no_such_module", 0) }},
		{"another kernel", func() error { return syscall0(unix.SYS_KEXEC_LOAD, 0, 0, 0, 1<<30) }},
		{"swap", func() error { return syscall0(unix.SYS_SWAPOFF, uintptr(junk)) }},
		{"accounting", func() error { return syscall0(unix.SYS_ACCT, 0) }},
		{"kernel log", func() error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_CONSOLE_ON, nil); return err }},
		{"bpf", func() error { return syscall0(unix.SYS_BPF, 0, uintptr(junk), 48) }},
		{"performance counters", func() error { return syscall0(unix.SYS_PERF_EVENT_OPEN, uintptr(junk), 0, ^uintptr(0), ^uintptr(0), 0) }},
		{"user fault handling", func() error { return syscall0(unix.SYS_USERFAULTFD, 0) }},
		{"key ring", func() error { _, err := unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, -3, 0, 0, 0); return err }},
		{"io_uring", func() error { return syscall0(unix.SYS_IO_URING_SETUP, 1, uintptr(junk)) }},
		{"quota", func() error { return syscall0(unix.SYS_QUOTACTL, 0x80000101, 0, 0, 0) }},
	}
}

// files are attempts to open what leads out.
func files() []attempt {
	var list []attempt
	for _, path := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
		"/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/sys/power/state", "/etc/resolv.conf", "/etc/hosts",
	} {
		list = append(list, attempt{"write " + path, func() error { return open(path, os.O_WRONLY) }})
	}
	for _, path := range []string{
		"/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control",
		"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware/dmi", "/run/docker.sock", "/run/buildkit/buildkitd.sock",
		"/proc/kpageflags", "/proc/kpagecount", "/proc/slabinfo", "/proc/vmallocinfo",
	} {
		list = append(list, attempt{"read " + path, func() error { return empty(path) }})
	}
	return list
}

// empty opens a path for reading, and fails where there is nothing to read: what
// is masked is empty.
func empty(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if n, _ := f.Read(make([]byte, 1)); n == 0 {
		return errNothing
	}
	return nil
}

var errNothing = errors.New("there is nothing in it")

func open(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		f.Close()
	}
	return err
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func listen(address string) error {
	l, err := net.ListenTCP("tcp", must(net.ResolveTCPAddr("tcp", address)))
	if err == nil {
		time.Sleep(time.Millisecond)
		l.Close()
	}
	return err
}

func must[T any](v T, err error) T {
	if err != nil {
		fail(err)
	}
	return v
}
