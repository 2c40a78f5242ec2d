// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures how much memory a run takes whose step has 100,000 inputs:
// attest with all that it starts, but for the engine.
func (b *bench) memory(ctx context.Context) error {
	dir, done, err := b.folder("memory")
	defer done()
	if err != nil {
		return err
	}
	if err := writeFiles(filepath.Join(dir, "in"), manyFiles, fileSize); err != nil {
		return err
	}
	const step = "version: \"0.1\"\nname: bench\nsteps:\n  count: {run: 'mkdir -p out && find in -type f | wc -l > out/count', inputs: [in/], outputs: [out/]"
	err = writeTexts(dir, map[string]string{
		"attest.yaml":    step + "}\n",
		"container.yaml": step + fmt.Sprintf(", image: %q}\n", "oci-layout://"+b.image),
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nMemory of a run with %d inputs\n  %-52s %12s %12s %12s\n", manyFiles, "", "time", "together", "largest")
	worst := 0
	for _, row := range []struct {
		name string
		args []string
	}{
		{"process step, the first time", nil},
		{"process step, nothing changed", nil},
		{"process step, --no-cache", []string{"--no-cache"}},
		{"container step, the first time", []string{"-f", "container.yaml"}},
		{"container step, nothing changed", []string{"-f", "container.yaml"}},
		{"container step, --no-cache", []string{"-f", "container.yaml", "--no-cache"}},
	} {
		if len(row.args) > 0 && row.args[0] == "-f" {
			if !b.canRunContainers() {
				continue
			}
			b.engine = true
		}
		took, used, err := watch(b.command(ctx, dir, append([]string{b.attest, "run", "--progress", "plain"}, row.args...)...))
		if err != nil {
			return err
		}
		fmt.Printf("  %-52s %12s %9d MB %9d MB\n", row.name, milli(took), used.together>>20, used.largest>>20)
		worst = max(worst, used.together, used.largest)
	}
	b.below("memory with 100,000 inputs", float64(worst)/(1<<20), 200, "MB")
	return nil
}

// usage is how much memory processes took, in bytes.
type usage struct {
	together int // at the worst of the moments that were looked at
	largest  int // of a single process, as the system remembers it
}

// watch runs a command and looks a hundred times a second at how much memory it
// and what it started have.
func watch(cmd *exec.Cmd) (took time.Duration, used usage, err error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, usage{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		select {
		case err := <-ended:
			tick.Stop()
			if err != nil {
				err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, &output)
			}
			return time.Since(began), used, err
		default:
			now := memoryOf(cmd.Process.Pid)
			used.together = max(used.together, now.together)
			used.largest = max(used.largest, now.largest)
		}
	}
}

// memoryOf returns what a process and those that it started have resident, but
// for the engine, which outlives them.
func memoryOf(pid int) usage {
	dir := fmt.Sprintf("/proc/%d/", pid)
	name, err := os.ReadFile(dir + "comm")
	if err != nil || strings.HasPrefix(string(name), "attest-buildkit") {
		return usage{} // ended, or the engine
	}
	status, _ := os.ReadFile(dir + "status") // empty for a process that has just ended
	sum := usage{together: statusField(status, "VmRSS:"), largest: statusField(status, "VmHWM:")}
	children, _ := filepath.Glob(dir + "task/*/children")
	for _, list := range children {
		text, _ := os.ReadFile(list) // a thread that has just ended has no children
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				below := memoryOf(pid)
				sum.together += below.together
				sum.largest = max(sum.largest, below.largest)
			}
		}
	}
	return sum
}

// statusField returns a number of /proc's status file, which has it in KiB.
func statusField(status []byte, name string) int {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[0])) // the kernel writes a number
	return n << 10
}
