// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// attempts are what a step may not do, each a command that must fail. None does
// harm where it succeeds: what it changes is the machine's, which is about to
// end.
func attempts() map[string]string {
	return map[string]string{
		"mount":              "mount -t tmpfs none /tmp",
		"remount":            "mount -o remount,rw /",
		"unmount":            "umount /proc",
		"write the image":    "touch /bin/probe",
		"make a device":      "mknod /tmp/d b 7 0",
		"make a port":        "for d in /sys/class/virtio-ports/*/dev; do mknod /tmp/p c $(tr : ' ' < $d) && echo forged > /tmp/p; done",
		"find the serial":    "test -c /dev/ttyS0",
		"read memory":        "head -c 1 /dev/mem",
		"write kernel log":   "test -c /dev/kmsg",
		"read kernel log":    "dmesg",
		"load a module":      "insmod /bin/busybox",
		"set the clock":      "date -s 2001-01-01; test $(date +%Y) = 2001",
		"set the host name":  "hostname other",
		"make a user":        "unshare -r true",
		"change the kernel":  "echo x > /proc/sys/kernel/core_pattern",
		"reboot by sysrq":    "test -e /proc/sysrq-trigger && echo b > /proc/sysrq-trigger",
		"reboot":             "busybox reboot -f; false",
		"change the root":    "chroot /workspace /bin/true",
		"trace the first":    "cat /proc/1/root/init",
		"look at masked":     "grep -q . /proc/interrupts || grep -q . /proc/timer_list",
		"reach the network":  "ping -c 1 -w 1 10.0.2.2 || nc -w 1 10.0.2.2 22 < /dev/null",
		"bring up a network": "ip link set eth0 up",
		"limits":             "ulimit -n 9999999",
	}
}

// TestMachineReach looks from inside a machine for ways out, and that what the
// outcome names as controls is in force.
func TestMachineReach(t *testing.T) {
	e := startMachines(t)
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set +e; mkdir out\n")
	for name, command := range attempts() {
		fmt.Fprintf(&script, "if ( %s ) >>out/said 2>&1; then echo '%s' >>out/succeeded; fi\n", command, name)
	}
	fmt.Fprintf(&script, `
		cat %s /workspace/../../../..%s /proc/1/root%s >out/canary 2>/dev/null
		cat /proc/self/status >out/status
		ls /sys/class/net >out/interfaces; ls /sys/block >out/disks; ls /dev >out/devices
		ls -d /proc/[0-9]* | wc -l >out/processes
		mount >out/mounts; ln -s %s out/link; nproc >out/cpus
		for d in / /etc /bin /usr /var; do touch $d/probe 2>/dev/null && echo $d/probe; done >out/image
		touch out/succeeded`, canary, canary, canary, canary)
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, script.String(), "out")
	staging, outcome := run(t, e, j)
	see := func(name string) string { return strings.TrimSpace(read(t, filepath.Join(staging, "out", name))) }
	if done := see("succeeded"); done != "" {
		t.Errorf("a step could do this:\n%s\nwhat was said:\n%s", done, see("said"))
	}
	if see("canary") != "" {
		t.Error("a file of this host can be read")
	}
	if target, err := os.Readlink(filepath.Join(staging, "out/link")); err != nil || target != canary {
		t.Errorf("a link came back as %q, %v", target, err)
	}
	status := map[string]string{}
	for line := range strings.Lines(see("status")) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.TrimSpace(value)
	}
	const few = "00000000000000fb" // as containers have
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(staging, "out/image"))
	if err != nil {
		t.Fatal(err)
	}
	readonly := !strings.Contains(string(image), "/probe")
	inForce := map[string]bool{
		"capabilities-dropped": status["CapEff"] == few && status["CapBnd"] == few,
		"cgroup-namespace":     true, // there is no way to look: no cgroup is mounted
		"cpu-limit":            see("cpus") == "1",
		"disk-reserve":         true, // as for containers
		"ipc-namespace":        true, // nothing else runs there
		"memory-limit":         true, // TestMachineLimits
		"mount-namespace":      strings.HasPrefix(see("mounts"), "root on / type virtiofs"),
		"network-none":         see("interfaces") == "lo",
		"no-new-privileges":    status["NoNewPrivs"] == "1",
		"pid-namespace":        len(see("processes")) == 1,
		"read-only-root":       readonly,
		"writes-listed":        true, // TestMachineWritten
		"virtual-machine":      strings.Contains(outcome.Engine, "qemu") && !strings.Contains(outcome.Engine, strings.TrimSpace(string(kernel))),
	}
	for control, is := range inForce {
		if is != slices.Contains(outcome.Controls, control) {
			t.Errorf("control %q: in force %t, named %t", control, is, slices.Contains(outcome.Controls, control))
		}
	}
	if len(inForce) != len(outcome.Controls) {
		t.Errorf("controls that nobody looked at: %q", outcome.Controls)
	}
	if devices := strings.Fields(see("devices")); len(devices) != 14 || see("disks") != "" {
		t.Errorf("devices %q, disks %q", devices, see("disks"))
	}
}

// TestMachineLimits: a step that has lost its way is held to what it was given.
func TestMachineLimits(t *testing.T) {
	e := startMachines(t)
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, `
		mkdir out
		set +e
		( head -c 400000 /dev/zero >big ); echo "$? $(stat -c %s big)" >out/file
		head -c 100000000 /dev/zero | tail -c 90000000 | wc -c >out/memory
		nproc >out/cpus
		( i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done ) 2>out/forks
		exit 0 # and not start another process`, "out")
	j.Limits = pipeline.Limits{Memory: 64 << 20, CPUs: 2, PIDs: 50, FileSize: 300_000}
	staging, outcome := run(t, e, j)
	see := func(name string) string { return strings.TrimSpace(read(t, filepath.Join(staging, "out", name))) }
	if got := see("file"); strings.HasPrefix(got, "0 ") || !strings.HasSuffix(got, " 300000") {
		t.Errorf("a file of 400 kB with a limit of 300: %s", got)
	}
	if got := see("forks"); !strings.Contains(got, "fork") {
		t.Errorf("60 processes with a limit of 50: %q", got)
	}
	if got := see("memory"); got == "90000000" {
		t.Error("a process had 90 MB with a limit of 64 MB")
	}
	// Who fails by it is told.
	j.Command.Shell, j.Outputs, j.Staging = "head -c 100000000 /dev/zero | tail -c 90000000", nil, t.TempDir()
	if outcome, err := e.Run(t.Context(), j, executor.Streams{}); err != nil || outcome.ExitCode != 137 || !slices.Equal(outcome.Met, []string{"memory"}) {
		t.Errorf("a step whose memory was full: exit code %d, limits met %q, %v", outcome.ExitCode, outcome.Met, err)
	}
	j.Command.Shell, j.Staging = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done", t.TempDir()
	if outcome, err := e.Run(t.Context(), j, executor.Streams{}); err != nil || outcome.ExitCode == 0 || !slices.Equal(outcome.Met, []string{"pids"}) {
		t.Errorf("a step that was to have 60 processes: exit code %d, limits met %q, %v", outcome.ExitCode, outcome.Met, err)
	}
	if got := see("cpus"); got != "2" {
		t.Errorf("%s processors, want 2", got)
	}
	for _, control := range []string{"pids-limit", "file-size-limit"} {
		if !slices.Contains(outcome.Controls, control) {
			t.Errorf("controls %q lack %q", outcome.Controls, control)
		}
	}
}

// TestMachineIsConfined looks at qemu and virtiofsd while a step runs, and that
// they are gone when the engine was killed.
func TestMachineIsConfined(t *testing.T) {
	machines := buildkitdtest.Machines(t)
	daemon := buildkitdtest.New(t)
	e := container.New(machineOptions(t, daemon, machines))
	defer e.Close()
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, "echo runs; sleep 100")
	j.Staging = t.TempDir()
	status, err := daemon.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var machinePIDs []int
	look := sync.OnceFunc(func() {
		qemu, fs := programsBelow(status.PID, "qemu-system-x86"), programsBelow(status.PID, "virtiofsd")
		if len(qemu) != 1 || len(fs) == 0 {
			t.Errorf("%d qemu and %d virtiofsd run", len(qemu), len(fs))
			return
		}
		machinePIDs = slices.Concat(qemu, fs)
		wantConfined(t, qemu[0], map[string]string{
			"Uid": "65534", "Gid": "65534", "CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
		}, "usr", "home")
		// The first one may only wait for another, which does the work.
		wantConfined(t, slices.Max(fs), map[string]string{"Seccomp": "2"}, "workspace", "boot")
		if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	_, err = e.Run(t.Context(), j, executor.Streams{Stdout: writerFunc(look)})
	if !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("the engine was killed: %v", err)
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := commandsWith(daemon.StateDir) // virtiofsd names its folder, and qemu ends with it or before
		for _, pid := range machinePIDs {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				left = append(left, fmt.Sprintf("process %d", pid))
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left behind: %q", left)
		}
	}
}

// wantConfined looks at a process: what its status says, what its root folder
// has and has not, and that its network is not this host's.
func wantConfined(t *testing.T, pid int, want map[string]string, has, hasNot string) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	for line := range strings.Lines(read(t, proc+"status")) {
		key, value, _ := strings.Cut(line, ":")
		if fields := strings.Fields(value); want[key] != "" && fields[0] != want[key] {
			t.Errorf("process %d: %s %s, want %s", pid, key, fields[0], want[key])
		}
	}
	if _, err := os.Stat(proc + "root/" + has); err != nil {
		t.Errorf("process %d: %v", pid, err)
	}
	if _, err := os.Stat(proc + "root/" + hasNot); err == nil {
		t.Errorf("process %d sees /%s", pid, hasNot)
	}
	for _, space := range []string{"net", "pid", "mnt", "ipc"} {
		theirs, err := os.Readlink(proc + "ns/" + space)
		if err != nil {
			t.Fatal(err)
		}
		if ours, err := os.Readlink("/proc/self/ns/" + space); err != nil || ours == theirs {
			t.Errorf("process %d shares this host's namespace %s", pid, ours)
		}
	}
}

// programsBelow returns the processes called name that descend from pid.
func programsBelow(pid int, name string) []int {
	parents, names := map[int]int{}, map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		number, rest, _ := strings.Cut(string(text), " (")
		comm, rest, _ := strings.Cut(rest, ") ")
		child, _ := strconv.Atoi(number)
		parents[child], _ = strconv.Atoi(strings.Fields(rest)[1])
		names[child] = comm
	}
	var found []int
	for child, comm := range names {
		above := child
		for above > 1 && above != pid {
			above = parents[above]
		}
		if comm == name && above == pid {
			found = append(found, child)
		}
	}
	return found
}

// commandsWith returns the command lines of this host that have text in them.
func commandsWith(text string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), text) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// TestMachineWorlds: the clock of a deterministic step starts at its epoch and its
// folders list their files in order; what was varied is named.
func TestMachineWorlds(t *testing.T) {
	e := startMachines(t)
	names := strings.Split("hgfedcbaijklmnopq", "")
	content := map[string]string{}
	for _, name := range names {
		content["d/"+name] = ""
	}
	dir, inputs := project(t, content)
	see := func(change func(*executor.Job)) (saw map[string]string, outcome executor.Outcome) {
		j := job(imagetest.Busybox(t), dir, inputs, `mkdir out; date +%s >out/time; nproc >out/cpus; { hostname; umask; } >out/world
			find d -type f | sed s,d/,, | tr -d '\n' >out/order; rm d/b; find d -type f | sed s,d/,, | tr -d '\n' >out/less`, "out")
		change(&j)
		staging, outcome := run(t, e, j)
		saw = map[string]string{}
		for _, name := range []string{"time", "cpus", "world", "order", "less"} {
			saw[name] = strings.TrimSpace(read(t, filepath.Join(staging, "out", name)))
		}
		return saw, outcome
	}
	ahead := func(saw map[string]string, of time.Time) time.Duration {
		seconds, err := strconv.ParseInt(saw["time"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(seconds, 0).Sub(of)
	}
	usual, _ := see(func(*executor.Job) {})

	epoch := time.Date(2020, 2, 29, 23, 59, 58, 0, time.UTC)
	fixed, outcome := see(func(j *executor.Job) { j.Deterministic = &executor.Determinism{Epoch: epoch} })
	if late := ahead(fixed, epoch); late < 0 || late > 20*time.Second {
		t.Errorf("the command saw a time %v after the epoch", late)
	}
	if fixed["world"] != "attest\n0022" || fixed["cpus"] != "1" {
		t.Errorf("host name and umask %q, %s processors", fixed["world"], fixed["cpus"])
	}
	sorted := slices.Sorted(slices.Values(names))
	if want := strings.Join(sorted, ""); fixed["order"] != want || fixed["less"] != strings.Replace(want, "b", "", 1) {
		t.Errorf("files are listed as %q, without one as %q", fixed["order"], fixed["less"])
	}
	for _, control := range []string{"fixed-start-time", "fixed-cpus", "fixed-hostname", "fixed-umask", "fixed-file-order"} {
		if !slices.Contains(outcome.Controls, control) {
			t.Errorf("controls %q lack %q", outcome.Controls, control)
		}
	}

	const offset = 100 * 24 * time.Hour
	varied, outcome := see(func(j *executor.Job) { j.Variation = &executor.Variation{ClockOffset: offset, CPUs: 2} })
	if by := ahead(varied, time.Now()); by < offset-24*time.Hour {
		t.Errorf("the clock was %v ahead", by)
	}
	if varied["world"] != "another-host\n0027" || varied["cpus"] != "2" {
		t.Errorf("another world's host name and umask %q, %s processors", varied["world"], varied["cpus"])
	}
	if varied["order"] != reversed(usual["order"]) {
		t.Errorf("files are listed as %q, usually as %q", varied["order"], usual["order"])
	}
	if want := []string{"clock", "cpus", "file-order", "hostname", "umask"}; !slices.Equal(outcome.Varied, want) {
		t.Errorf("varied %q, want %q", outcome.Varied, want)
	}
}
