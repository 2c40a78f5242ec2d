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

// manyFiles measures time and peak memory of attest with its worker, without
// the engine's, on 20,000 input files that are new to the engine, and again on
// the same.
func (b *bench) manyFiles(ctx context.Context) error {
	project := filepath.Join(b.dir, "many")
	if err := b.writeProject(project, "mkdir out && find in -type f | wc -l > out/count", 20_000); err != nil {
		return err
	}
	fmt.Printf("\n20,000 input files\n  %-44s %10s %10s\n", "", "time", "peak")
	for _, name := range []string{"attest run, the first time", "attest run, again", "attest run, a third time"} {
		cmd := exec.CommandContext(ctx, b.attest, "run", "--no-cache", "--progress", "plain")
		cmd.Dir, cmd.Env = project, b.environ()
		took, peak, err := timeAndPeak(cmd)
		if err != nil {
			return err
		}
		fmt.Printf("  %-44s %8.2f s %7d MB\n", name, took.Round(time.Millisecond).Seconds(), peak>>20)
	}
	return nil
}

// timeAndPeak runs attest, looking a hundred times a second at how much memory
// it and its worker have together, in bytes.
func timeAndPeak(cmd *exec.Cmd) (took time.Duration, peak int, err error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
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
			return time.Since(began), peak, err
		default:
			peak = max(peak, memory(cmd.Process.Pid))
		}
	}
}

// memory returns how many bytes a process and those that it started have
// resident, but for the engine, which outlives them.
func memory(pid int) int {
	dir := fmt.Sprintf("/proc/%d/", pid)
	name, err := os.ReadFile(dir + "comm")
	if err != nil || strings.HasPrefix(string(name), "attest-buildkit") {
		return 0 // ended, or the engine
	}
	statm, _ := os.ReadFile(dir + "statm") // empty for a process that has just ended
	total := 0
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1]) // the kernel writes a number
		total = pages * os.Getpagesize()
	}
	children, _ := filepath.Glob(dir + "task/*/children")
	for _, list := range children {
		text, _ := os.ReadFile(list) // a thread that has just ended has no children
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				total += memory(pid)
			}
		}
	}
	return total
}
