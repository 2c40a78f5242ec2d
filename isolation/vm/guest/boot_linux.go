// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Modules is the folder of the RAM disk whose files are loaded into the
	// kernel, in the order of their names.
	Modules = "/modules"

	portWait = 10 * time.Second
)

// boot is the first process. It does not return: the machine ends with it.
func boot() {
	err := prepareMachine()
	port, portErr := openPort()
	if err == nil {
		err = portErr
	}
	if err == nil {
		err = serve(port)
	}
	if err != nil {
		// The kernel's log is where the host looks when there is no port.
		if log, openErr := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); openErr == nil {
			fmt.Fprintf(log, "<2>attest-guest: %v\n", err)
		}
		if port >= 0 {
			_ = WriteFrame(fd(port), KindFailed, []byte(err.Error()))
		}
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // the host has it that this is the end
	select {}
}

// prepareMachine makes the kernel's own file systems and loads its modules.
func prepareMachine() error {
	for _, m := range []Mount{
		{Type: "proc", Target: "/proc"},
		{Type: "sysfs", Target: "/sys"},
		{Type: "devtmpfs", Target: "/dev"},
		{Type: "cgroup2", Target: "/cgroup"},
	} {
		if err := os.MkdirAll(m.Target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.Type, m.Target, m.Type, unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.Target, err)
		}
	}
	files, err := filepath.Glob(Modules + "/*")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		if err := loadModule(path); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading %s into the kernel: %w", filepath.Base(path), err)
	}
	return nil
}

// openPort opens the control port, which the kernel may still be finding.
func openPort() (int, error) {
	for end := time.Now().Add(portWait); ; time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, path := range names {
			text, err := os.ReadFile(path)
			if err != nil || strings.TrimSpace(string(text)) != Port {
				continue
			}
			device := "/dev/" + filepath.Base(filepath.Dir(path))
			port, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				return port, nil
			}
		}
		if time.Now().After(end) {
			return -1, errors.New("finding the control port: there is none")
		}
	}
}

// serve carries out the one order of the host.
func serve(port int) error {
	control := &conn{port: fd(port)}
	if err := control.send(KindReady, nil); err != nil {
		return err
	}
	order, err := readOrder(control.port)
	if err != nil {
		return err
	}
	if err := order.prepare(); err != nil {
		return err
	}
	code, err := order.run(control)
	if err != nil {
		return err
	}
	// What programs had mapped into memory is not yet with the host.
	unix.Sync()
	if err := unmountTree(); err != nil {
		return err
	}
	if code.starved {
		if err := control.send(KindStarved, nil); err != nil {
			return err
		}
	}
	if code.crowded {
		if err := control.send(KindCrowded, nil); err != nil {
			return err
		}
	}
	if code.why != "" {
		return control.send(KindNotRun, append([]byte{code.exit}, code.why...))
	}
	return control.send(KindExit, []byte{code.exit})
}

// prepare sets up of the machine what the order has a say in.
func (o Order) prepare() error {
	if err := o.mountTree(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if o.Seed != "" {
		if err := serveDevices(o.Seed); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/kernel/randomize_va_space", []byte("0"), 0); err != nil {
			return fmt.Errorf("fixing the addresses of programs: %w", err)
		}
	}
	// A container may not make user namespaces either, by seccomp.
	for name, value := range map[string]string{
		"user/max_user_namespaces": "0",
		"kernel/dmesg_restrict":    "1",
		"kernel/kptr_restrict":     "2",
		"kernel/modules_disabled":  "1", // nobody loads another one from here on
	} {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("closing the kernel: %w", err)
		}
	}
	if err := interfaceUp("lo"); err != nil {
		return err
	}
	if o.Network {
		if err := joinNetwork(); err != nil {
			return err
		}
	}
	now := unix.NsecToTimespec(o.Clock)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	return nil
}
