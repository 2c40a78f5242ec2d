// SPDX-License-Identifier: Apache-2.0

// Command bench measures attest beside the tools that it is to be compared
// with, taking turns in one run, so that a busy machine slows down all alike.
//
//	go run ./hack/bench -attest bin/attest -buildctl build/bin/buildctl -image build/images/busybox
//
// It prints medians and smallest values; compare within one run, not across.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what all measurements share.
type bench struct {
	attest, buildctl, image string // absolute paths
	dir                     string // removed at the end
	rounds                  int
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	b := &bench{}
	flags.StringVar(&b.attest, "attest", "bin/attest", "the program to measure")
	flags.StringVar(&b.buildctl, "buildctl", "build/bin/buildctl", "BuildKit's own client")
	flags.StringVar(&b.image, "image", "build/images/busybox", "OCI layout to run steps in")
	flags.IntVar(&b.rounds, "rounds", 21, "how often each thing is measured")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, path := range []*string{&b.attest, &b.buildctl, &b.image} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	dir, err := os.MkdirTemp("", "attest-bench-")
	if err != nil {
		return err
	}
	b.dir = dir
	defer os.RemoveAll(dir)
	defer b.stopEngine()
	for _, measure := range []func(context.Context) error{b.startUp, b.containerStep, b.manyFiles} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// environ keeps the engine of these measurements apart from the user's own.
func (b *bench) environ() []string {
	return append(os.Environ(), "ATTEST_STATE_DIR="+filepath.Join(b.dir, "state"), "NO_COLOR=1")
}

func (b *bench) stopEngine() {
	cmd := exec.Command(b.attest, "engine", "stop")
	cmd.Env = b.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: stopping the engine: %v\n%s", err, out)
	}
}

// series is one thing that was measured several times.
type series struct {
	name  string
	times []time.Duration
}

func (s *series) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[len(sorted)/2]
}

// table prints the series, and how each compares with the last one.
func table(title string, all ...*series) {
	fmt.Printf("\n%s (%d rounds)\n", title, len(all[0].times))
	fmt.Printf("  %-44s %10s %10s %8s %10s\n", "", "median", "min", "ratio", "more")
	base := all[len(all)-1].median()
	for _, s := range all {
		m := s.median()
		fmt.Printf("  %-44s %10s %10s %7.2fx %10s\n", s.name, milli(m), milli(slices.Min(s.times)),
			float64(m)/float64(base), milli(m-base))
	}
}

func milli(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// time1 measures one command, which must succeed.
func time1(cmd *exec.Cmd) (time.Duration, error) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return took, err
}

// startUp compares programs that do nothing but start.
func (b *bench) startUp(ctx context.Context) error {
	commands := [][]string{{b.attest, "--version"}, {b.attest, "--help"}, {b.buildctl, "--version"}}
	all := []*series{{name: "attest --version"}, {name: "attest --help"}, {name: "buildctl --version"}}
	for range b.rounds {
		for i, c := range commands {
			took, err := time1(exec.CommandContext(ctx, c[0], c[1:]...))
			if err != nil {
				return err
			}
			all[i].times = append(all[i].times, took)
		}
	}
	table("Starting", all...)
	return nil
}
