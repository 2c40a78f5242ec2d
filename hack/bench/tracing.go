// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tracingGo measures what it costs to find out what a step reads, in a build of
// this module where one file of a package changed that others import. Its caches are
// the user's.
func (b *bench) tracingGo(ctx context.Context) error {
	dir, done, err := b.folder("tracing-go")
	defer done()
	if err != nil {
		return err
	}
	const build = "go build -o attest.out ./cmd/attest"
	if _, err := b.do(ctx, "", "sh", "-c", `git archive HEAD | tar x -C "$0"`, dir); err != nil {
		return err
	}
	round := 0
	change := func() error { // what is exported changes, so that importers are compiled again
		round++
		text := fmt.Sprintf("package plan\n\n// Round is another one each time.\nconst Round = \"%d %d\"\n", round, time.Now().UnixNano())
		return os.WriteFile(filepath.Join(dir, "frontend/plan/round.go"), []byte(text), 0o644)
	}
	return b.traced(ctx, "a go build of attest, frontend/plan changed", dir, build, change)
}

// tracingNPM is the same with packages of npm, which are unpacked.
func (b *bench) tracingNPM(ctx context.Context) error {
	if _, err := exec.LookPath("npm"); err != nil {
		fmt.Println("  tracing of npm ci: not measured: there is no npm")
		return nil
	}
	dir, done, err := b.folder("tracing-npm")
	defer done()
	if err != nil {
		return err
	}
	err = writeTexts(dir, map[string]string{"package.json": `{"name": "bench", "version": "1.0.0", "private": true,
  "dependencies": {"express": "5.1.0", "eslint": "9.26.0"}}` + "\n"})
	if err != nil {
		return err
	}
	const flags = " --no-audit --no-fund --ignore-scripts --prefer-offline"
	if _, err := b.do(ctx, dir, "sh", "-c", "npm install"+flags); err != nil {
		return err
	}
	clear := func() error { return os.RemoveAll(filepath.Join(dir, "node_modules")) }
	return b.traced(ctx, "npm ci of express and eslint", dir, "npm ci"+flags, clear)
}

// traced measures a command in a process step whose reads are told in one of three
// ways, in one that is not traced, and by itself.
func (b *bench) traced(ctx context.Context, what, dir, command string, prepare func() error) error {
	if _, err := exec.LookPath("setpriv"); err != nil || os.Getuid() != 0 {
		fmt.Printf("  %s: not measured: it takes root, and setpriv of util-linux\n", what)
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := writeTexts(dir, map[string]string{"attest.yaml": "version: \"0.1\"\nname: bench\nsteps: {s: {run: " + command + "}}\n"}); err != nil {
		return err
	}
	run := []string{b.attest, "run", "--no-cache", "--progress", "quiet"}
	weak := append([]string{"setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"}, run...)
	var rows []*series
	for _, r := range []struct {
		name, control string
		argv          []string
	}{
		{"attest run: told by fanotify, as root is", "reads-traced", run},
		{"attest run: told by seccomp, as others are", "opens-traced", weak},
		{"attest run --trace", "lookups-traced", append(slices.Clone(run), "--trace")},
		{"attest run: not traced", "", append([]string{self, untracedCommand}, weak...)},
	} {
		// Everything is warm before the first turn, and each row is what it says.
		if err := errors.Join(prepare(), b.hasControl(ctx, dir, r.control, r.argv)); err != nil {
			return err
		}
		rows = append(rows, b.running(ctx, r.name, dir, r.argv...))
	}
	rows = append(rows, b.running(ctx, "the command alone", dir, "sh", "-c", command))
	for _, r := range rows {
		r.prepare = prepare
	}
	if err := takeTurns(b.slow, rows...); err != nil {
		return err
	}
	table(what, rows...)
	for i, how := range []string{"fanotify", "seccomp", "--trace"} {
		more := 100 * (paired(rows[i], rows[3]) - 1)
		if how == "--trace" {
			fmt.Printf("  %-52s %30s %14.3g %% more\n", what+", "+how, "", more)
			break
		}
		b.below(what+", "+how, more, 10, "% more than not traced")
	}
	return nil
}

// hasControl runs attest and makes sure that, of all kinds of tracing, its receipt
// names this one.
func (b *bench) hasControl(ctx context.Context, dir, control string, argv []string) error {
	out, err := b.do(ctx, dir, argv...)
	if err != nil {
		return err
	}
	words := strings.Fields(out)
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, ".attest/receipts/") })
	if i < 0 {
		return fmt.Errorf("%v named no receipt", argv)
	}
	receipt, err := os.ReadFile(filepath.Join(dir, words[i]))
	if err != nil {
		return err
	}
	has := strings.Contains(string(receipt), "opens-traced") || strings.Contains(string(receipt), "reads-traced")
	if has != (control != "") || !strings.Contains(string(receipt), control) {
		return fmt.Errorf("%v: the receipt does not say %q of tracing", argv, control)
	}
	return nil
}

// untracedCommand has this program execute another one that seccomp does not let
// trace its steps: there is one listener to a process, and it has one that is told
// of nothing.
const untracedCommand = "untraced"

// paired returns the median of how a compares with c, round by round.
func paired(a, c *series) float64 {
	var all []float64
	for i := range a.times {
		all = append(all, ratio(a.times[i], c.times[i]))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
