// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor/executortest"
	"github.com/attest-pipeline/attest/isolation/process"
)

// without names, for a test in a process of its own, what the kernel refuses.
const without = "ATTEST_TEST_WITHOUT"

func TestConformance(t *testing.T) { testConformance(t, "") }

func testConformance(t *testing.T, init string) {
	const path = "/usr/sbin:/usr/bin:/sbin:/bin"
	executortest.Run(t, func(t *testing.T) executortest.Fixture {
		f := executortest.Fixture{
			Executor: process.New(process.Options{
				Environ: []string{"PATH=/nowhere", "OTHER=x", "PATH=" + path, "HOME=/home/somebody", "USER=somebody"},
				Init:    init,
			}),
			BaseEnv: []pipeline.Var{
				{Name: "HOME", Value: "/home/somebody"}, {Name: "LANG", Value: "C.UTF-8"},
				{Name: "PATH", Value: path}, {Name: "TERM", Value: "dumb"}, {Name: "USER", Value: "somebody"},
			},
		}
		switch {
		case os.Getenv(without) == "all" || !grantsNamespaces(t):
			f.Exposed, f.NoFiles = true, true
			f.Controls = append(landlocked(false), process.ControlNoNewPrivileges)
		case os.Getenv(without) == "overlay":
			f.NoFiles = true
			f.Controls = slices.Concat(always(), landlocked(false), []string{process.ControlPIDNamespace})
		case os.Getenv(without) == "pid" || !grantsPIDs(t):
			f.Controls = slices.Concat(always(), ofView(), landlocked(true))
		default:
			f.Controls = slices.Concat(always(), ofView(), landlocked(true), []string{process.ControlPIDNamespace})
		}
		f.Controls = append(f.Controls, process.ControlDiskReserve)
		f.Controls = append(f.Controls, grouped()...)
		slices.Sort(f.Controls)
		return f
	})
}

// grouped are the controls of control groups, which hold every step of root to a
// number of processes.
func grouped() []string {
	_, err := os.Stat("/sys/fs/cgroup/pids/cgroup.procs")
	enabled, _ := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	if os.Getuid() != 0 || err != nil && !slices.Contains(strings.Fields(string(enabled)), "pids") {
		return nil
	}
	return []string{process.ControlPIDsLimit}
}

// always are the controls of a machine that grants namespaces.
func always() []string {
	return []string{
		process.ControlCredentialsHidden, process.ControlIPCNamespace, process.ControlKeysHidden, process.ControlMountNamespace,
		process.ControlNoNewPrivileges, process.ControlUserNamespace, process.ControlUTSNamespace,
	}
}

// landlocked are the controls of this kernel's Landlock, ordered, for a step with
// a view or one without.
func landlocked(view bool) (controls []string) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	if errno != 0 {
		return nil
	}
	if !view && abi >= 2 {
		controls = append(controls, fmt.Sprint(process.ControlLandlockFiles, abi))
	}
	if abi >= 6 {
		controls = append(controls, fmt.Sprint(process.ControlLandlockScope, abi))
	}
	return controls
}

// ofView are the controls of one that grants overlays as well.
func ofView() []string {
	return []string{process.ControlHostReadOnly, process.ControlProjectOverlay, process.ControlTmpPrivate}
}

// grants reports whether this kernel lets this user run a command in new
// namespaces. A machine that must says so in the environment.
func grants(t *testing.T, spaces uintptr, command ...string) bool {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | spaces,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	err := cmd.Run()
	if err != nil && os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" && os.Getenv(without) == "" {
		t.Fatalf("no namespaces, and ATTEST_REQUIRE_BUILDKIT is set: %v", err)
	}
	return err == nil
}

func grantsNamespaces(t *testing.T) bool {
	t.Helper()
	return grants(t, unix.CLONE_NEWNS, "true")
}

// grantsPIDs is false in many a container, where parts of /proc are covered.
func grantsPIDs(t *testing.T) bool {
	t.Helper()
	return grants(t, unix.CLONE_NEWNS|unix.CLONE_NEWPID, "mount", "-t", "proc", "proc", "/proc")
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if !grantsNamespaces(t) {
		t.Skip("the kernel grants this user no namespaces")
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	needNamespaces(t)
	if os.Getuid() != 0 {
		t.Skip("only root can make what is to be hidden")
	}
}

// again runs a test of this binary in another process, set up by wrap.
func again(t *testing.T, test string, wrap func(*exec.Cmd)) {
	t.Helper()
	if testing.Short() {
		t.Skip("the suite once more takes some seconds")
	}
	// The folder of the go command's test binaries is closed to other users.
	dir, err := os.MkdirTemp("", "attest-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.WriteFile(dir+"/process.test", self, 0o755), os.Chmod(dir, 0o777), os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir+"/tmp", 0o777))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir+"/process.test", "-test.run", test, "-test.count=1")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir+"/tmp", "HOME="+dir)
	cmd.Dir = dir
	wrap(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestConformanceOfAnotherUser(t *testing.T) {
	needRoot(t)
	again(t, "^TestConformance$|^TestHide$", func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	})
}

// Where no overlay is to be had, so that the machine is not read-only, a step of root
// is kept from the same.
func TestRootWithoutOverlay(t *testing.T) {
	needRoot(t)
	again(t, "^TestRoot$", func(cmd *exec.Cmd) {
		// Overlays are stacked two high and no higher.
		const stack = `mount --make-rprivate /; d=$(dirname "$TMPDIR"); mkdir $d/a $d/b $d/c $d/d
			mount -t overlay -o lowerdir=$TMPDIR,upperdir=$d/a,workdir=$d/b none $TMPDIR
			mount -t overlay -o lowerdir=$TMPDIR,upperdir=$d/c,workdir=$d/d none $TMPDIR; exec "$@"`
		cmd.Args = append([]string{"sh", "-e", "-c", stack, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	})
}

// Where less is to be had, everything but the protection holds.
func TestConformanceWithout(t *testing.T) {
	needNamespaces(t)
	for what, refuse := range map[string]string{
		"pid": "mount -t tmpfs none /proc/sys", // the kernel grants no new /proc where this one is covered in part
		// Overlays are stacked two high and no higher.
		"overlay": `d=$(dirname "$TMPDIR"); mkdir $d/a $d/b $d/c $d/d
			mount -t overlay -o lowerdir=$TMPDIR,upperdir=$d/a,workdir=$d/b,userxattr none $TMPDIR
			mount -t overlay -o lowerdir=$TMPDIR,upperdir=$d/c,workdir=$d/d,userxattr none $TMPDIR`,
		"all": "echo 0 > /proc/sys/user/max_user_namespaces",
	} {
		t.Run(what, func(t *testing.T) {
			again(t, "^TestConformance$|^TestStuckInit$", func(cmd *exec.Cmd) {
				cmd.Args = append([]string{"sh", "-e", "-c", refuse + `; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
				cmd.Path = "/bin/sh"
				cmd.Env = append(cmd.Env, without+"="+what)
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
					GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
				}
			})
		})
	}
}
