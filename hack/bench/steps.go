// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// stepCount is how many steps the pipeline of many steps has.
const stepCount = 1000

// atOnce is how many steps attest runs at once.
func atOnce() int { return runtime.NumCPU() + 1 }

// steps measures what a step costs beyond its command.
func (b *bench) steps(ctx context.Context) error {
	dir, done, err := b.folder("steps")
	defer done()
	if err != nil {
		return err
	}
	text := "version: \"0.1\"\nname: bench\nsteps:\n"
	for i := range stepCount {
		text += fmt.Sprintf("  s%d: {run: [\"true\", \"%[1]d\"], inputs: []}\n", i)
	}
	if err := writeTexts(dir, map[string]string{"attest.yaml": text}); err != nil {
		return err
	}
	fresh := b.running(ctx, "attest run --no-cache", dir, b.attest, "run", "--no-cache")
	first := b.running(ctx, "attest run, the first time: results are kept", dir, b.attest, "run")
	first.prepare = func() error { _, err := b.do(ctx, dir, "rm", "-rf", ".attest"); return err }
	cached := b.running(ctx, "attest run, all cached", dir, b.attest, "run")
	start := b.running(ctx, "attest --version", dir, b.attest, "--version")
	each := fmt.Sprintf("xargs -n 1 -P %d ", atOnce())
	bare := &series{name: each + "true", measure: func() (time.Duration, error) { return b.otherSteps(ctx, "true") }}
	all := []*series{fresh, first, cached, bare}
	if bwrap := b.peers["bwrap"]; bwrap != "" {
		sandbox := []string{
			bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--ro-bind", "/", "/",
			"--tmpfs", "/tmp", "--bind", dir, dir, "--proc", "/proc", "--dev", "/dev", "true",
		}
		all = append(all, &series{name: each + "bwrap ... true", measure: func() (time.Duration, error) {
			return b.otherSteps(ctx, sandbox...)
		}})
	}
	all = append(all, start)
	if err := takeTurns(b.slow, all...); err != nil {
		return err
	}
	if _, err := b.do(ctx, dir, b.attest, "run", "--expect-cached"); err != nil {
		return err
	}
	table(fmt.Sprintf("%d process steps of true, %d at once", stepCount, atOnce()), all...)
	b.judgeSteps(fresh, cached, bare, start)
	return nil
}

// judgeSteps takes from a run what is not the engine's: its start, and the
// commands as they run without it.
func (b *bench) judgeSteps(fresh, cached, bare, start *series) {
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / stepCount }
	b.below("1,000 process steps, nothing cached", each(fresh.median()-start.median()-bare.median()), 2, "ms a step")
	b.below("1,000 process steps, all cached", each(cached.median()-start.median()), 0.2, "ms a step")
}

// otherSteps runs the same commands by other programs, as many at once as attest
// does.
func (b *bench) otherSteps(ctx context.Context, argv ...string) (time.Duration, error) {
	cmd := b.command(ctx, "", append([]string{"xargs", "-n", "1", "-P", fmt.Sprint(atOnce())}, argv...)...)
	var numbers strings.Builder
	for i := range stepCount {
		fmt.Fprintln(&numbers, i)
	}
	cmd.Stdin = strings.NewReader(numbers.String())
	return timed(cmd)
}
