// SPDX-License-Identifier: Apache-2.0

package buildkitdtest

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The addresses of [OwnNetwork] that are not loopback ones. They are set aside
// for documentation, so nobody else has them.
const (
	Address = "203.0.113.1"
	Other   = "203.0.113.2"
)

// insideNetwork is set in a test program that was started by OwnNetwork.
const insideNetwork = "ATTEST_TEST_OWN_NETWORK"

// OwnNetwork runs the test again, as a process in a network namespace made for
// it, and reports whether it is that process; otherwise the test has run and is
// to return. An engine that is started there is in the same network, from which
// nothing beyond this machine, and no service of it, can be reached. What
// listens on [Address] is to it like a server elsewhere.
func OwnNetwork(t *testing.T) (inside bool) {
	t.Helper()
	Require(t)
	if os.Getenv(insideNetwork) != "" {
		if err := setUpLoopback(); err != nil {
			t.Fatalf("setting up the network: %v", err)
		}
		return true
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.count=1"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("in its own network: %v\n%s", err, out)
	}
	t.Logf("in its own network:\n%s", out)
	return false
}

// setUpLoopback brings the loopback interface up, with two addresses more.
func setUpLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, loopback); err != nil {
		return err
	}
	for name, address := range map[string]string{"lo:1": Address, "lo:2": Other} {
		more, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := more.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, more); err != nil {
			return err
		}
	}
	return nil
}
