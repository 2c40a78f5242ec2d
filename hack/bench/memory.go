// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// manyFiles measures time and peak memory of attest, without the engine's, on
// 20,000 input files that are new to the engine, and again on the same.
func (b *bench) manyFiles(ctx context.Context) error {
	project := filepath.Join(b.dir, "many")
	if err := b.writeProject(project, "mkdir out && find in -type f | wc -l > out/count", 20_000); err != nil {
		return err
	}
	fmt.Printf("\n20,000 input files\n  %-44s %10s %10s\n", "", "time", "peak")
	for _, name := range []string{"attest run, the first time", "attest run, again", "attest run, a third time"} {
		cmd := exec.CommandContext(ctx, b.attest, "run", "--progress", "plain")
		cmd.Dir, cmd.Env = project, b.environ()
		took, err := time1(cmd)
		if err != nil {
			return err
		}
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return fmt.Errorf("this system does not tell a process's memory")
		}
		fmt.Printf("  %-44s %8.2f s %7d MB\n", name, took.Round(time.Millisecond).Seconds(), usage.Maxrss>>10)
	}
	return nil
}
