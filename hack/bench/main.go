// SPDX-License-Identifier: Apache-2.0

// Command bench measures attest beside the tools that it is to be compared
// with, taking turns in one run, so that a busy machine slows down all alike.
//
//	go run ./hack/bench -only unchanged,hash -rounds 11
//
// README.md in this folder says how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// section is a part of the measurements that can be asked for by name.
type section struct {
	name    string
	measure func(*bench, context.Context) error
}

func sections() []section {
	return []section{
		{"unchanged", (*bench).unchanged},
		{"hash", (*bench).hash},
		{"restore", (*bench).restore},
		{"steps", (*bench).steps},
		{"tracing-go", (*bench).tracingGo},
		{"tracing-npm", (*bench).tracingNPM},
		{"memory", (*bench).memory},
		{"process", (*bench).process},
		{"container", (*bench).container},
		{"machine", (*bench).machine},
		{"start", (*bench).start},
	}
}

// bench is what all measurements share.
type bench struct {
	attest, buildctl, image string // absolute paths
	peers                   peers
	dir                     string // removed at the end
	rounds                  int    // of what takes milliseconds
	slow                    int    // rounds of what takes seconds
	goals                   []goal
	engine                  bool // was started
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == hashCommand {
		return hashFolder(ctx, args[1])
	}
	if len(args) > 1 && args[0] == untracedCommand {
		return untraced(args[1:])
	}
	b := &bench{}
	chosen, err := b.parse(args)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "attest-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stopEngine()
	fmt.Printf("%s/%s, %d processors; %d rounds, %d of what takes seconds\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.rounds, b.slow)
	fmt.Println(b.peers)
	for _, s := range chosen {
		if err := s.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	b.summary()
	return nil
}

// parse reads the flags and returns the sections that are asked for.
func (b *bench) parse(args []string) ([]section, error) {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.attest, "attest", "bin/attest", "the program to measure")
	flags.StringVar(&b.buildctl, "buildctl", "build/bin/buildctl", "BuildKit's own client")
	flags.StringVar(&b.image, "image", "build/images/busybox", "OCI layout to run steps in")
	folder := flags.String("peers", "build/peers", "where hack/peers.sh has put programs to compare with")
	only := flags.String("only", strings.Join(names, ","), "sections to measure")
	flags.IntVar(&b.rounds, "rounds", 21, "how often each thing is measured that takes milliseconds")
	flags.IntVar(&b.slow, "slow-rounds", 5, "how often each thing is measured that takes seconds")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if b.rounds < 1 || b.slow < 1 {
		return nil, errors.New("measuring less than once")
	}
	for _, path := range []*string{&b.attest, &b.buildctl, &b.image, folder} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = abs
	}
	b.peers = findPeers(*folder)
	var chosen []section
	for name := range strings.SplitSeq(*only, ",") {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, sections()[i])
	}
	return chosen, nil
}

// folder makes a folder for one measurement; done removes it.
func (b *bench) folder(name string) (dir string, done func(), err error) {
	dir = filepath.Join(b.dir, name)
	return dir, func() { _ = os.RemoveAll(dir) }, os.MkdirAll(dir, 0o755)
}

func (b *bench) stopEngine() {
	if !b.engine {
		return
	}
	cmd := exec.Command(b.attest, "engine", "stop")
	cmd.Env = b.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: stopping the engine: %v\n%s", err, out)
	}
}
