// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/reproduce"
)

// The world of a second run, where an executor can vary it. What --deterministic
// fixes stays fixed: that is the promise which the second run puts to the test.
const (
	againName   = "again" // of its staging folder, in the step's own
	variedHost  = "another-host"
	variedUmask = 0o027
	// variedAfter is how long after the first one's end it begins: more than the two
	// seconds to which ZIP archives round a time. Of the first one's beginning
	// nothing follows, since the command may have begun long after: a container has
	// to be made first, or an image fetched.
	variedAfter = 2100 * time.Millisecond
)

// reproduce runs the command again in a world that differs, without any of what
// the first run left, and wants the same outputs.
func (w *walk) reproduce(ctx context.Context, left tree.Found) error {
	if !w.step.Attestation.Reproducible {
		return nil
	}
	if err := wait(ctx, time.Until(w.ended.Add(variedAfter))); err != nil {
		return err
	}
	folder := path.Join(w.dir, againName)
	if err := w.run.root.Mkdir(folder, 0o700); err != nil {
		return err
	}
	job := w.job()
	job.Trace = false // the first one was
	job.Staging, job.Variation = w.run.space.abs(folder), w.variation()
	second, out, err := w.again(ctx, job)
	if err != nil {
		return err
	}
	again, err := w.collect(ctx, folder)
	if err != nil {
		return fmt.Errorf("the second run: %w", err)
	}
	w.facts.Reproduction = &receipt.Reproduction{Verdict: receipt.Identical, Varied: varied(out)}
	first := reproduce.World{
		Hostnames: hostnames(), Paths: []string{w.run.Root, w.run.space.abs(w.staging())},
		CPUs: runtime.NumCPU(), Began: w.began, Ended: w.ended, Booted: second.Booted,
	}
	err = w.compare(ctx, side{w.staging(), left, first}, side{folder, again, second})
	return w.explainFetches(err, w.maskFetches(fetchesIn(out)))
}

// explainFetches says of a difference that the second run fetched something else,
// which explains it, or warns of that where the outputs are the same by luck.
func (w *walk) explainFetches(err error, second []receipt.Fetch) error {
	other := symmetric(w.facts.Fetched, second)
	if len(other) == 0 {
		return err
	}
	what := "the second run did not fetch the same: " + some(other)
	if err == nil {
		w.warn(what)
		return nil
	}
	if e := (*source.Error)(nil); errors.As(err, &e) {
		e.Hints = append(e.Hints, what, "attest pipeline lock, and attest run --locked, hold a step to what it fetched")
	}
	return err
}

// symmetric returns the URLs whose contents are not those of the other list.
func symmetric(a, b []receipt.Fetch) []string {
	var urls []string
	in := make(map[receipt.Fetch]int, len(a))
	for side, list := range [][]receipt.Fetch{a, b} {
		for _, f := range list {
			in[f] |= 1 << side
		}
	}
	for f, sides := range in {
		if sides != 3 {
			urls = append(urls, f.URL)
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// variation says how the second run's world is to differ.
func (w *walk) variation() *executor.Variation {
	v := &executor.Variation{ReverseDirs: true}
	if w.fixed != nil {
		return &executor.Variation{}
	}
	v.Hostname, v.Umask, v.Project = variedHost, variedUmask, "/tmp/another/place"
	if w.step.Limits.CPUs == 0 && runtime.NumCPU() > 1 {
		v.CPUs = 1
	}
	return v
}

// again is the second run. What it prints is of interest where it fails.
func (w *walk) again(ctx context.Context, job executor.Job) (reproduce.World, executor.Outcome, error) {
	w.doing("running it a second time")
	var printed tail
	began := time.Now()
	out, err := w.run.Executors[w.step.Isolation].Run(ctx, job, executor.Streams{Stdout: &printed, Stderr: &printed})
	world := reproduce.World{
		Hostnames: hostnames(), Paths: []string{job.Variation.Project, job.Staging}, Began: began, Ended: time.Now(),
	}
	if w.step.Isolation != pipeline.VM { // which starts a system of its own
		world.Booted = booted(world.Ended)
	}
	if slices.Contains(out.Varied, executor.VariedCPUs) {
		world.CPUs = job.Variation.CPUs
	}
	if slices.Contains(out.Varied, executor.VariedUmask) {
		world.Umask = job.Variation.Umask
	}
	if slices.Contains(out.Varied, executor.VariedHostname) {
		world.Hostnames = []string{job.Variation.Hostname}
	}
	if err != nil {
		return world, out, fmt.Errorf("running the step a second time: %w", err)
	}
	if out.ExitCode != 0 {
		return world, out, w.at(w.step.RunPos, fmt.Sprintf("the command succeeded, and ended with exit code %d when it was run a second time, where %s: %s",
			out.ExitCode, "the "+strings.Join(varied(out), ", ")+" differed", printed.lastLine()),
			"a step must not depend on what it did before, nor on where and when it runs")
	}
	return world, out, nil
}

// booted returns when this machine was started, zero where that is not known.
func booted(now time.Time) time.Time {
	var up float64
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}
	}
	if _, err := fmt.Sscan(string(text), &up); err != nil {
		return time.Time{}
	}
	return now.Add(-time.Duration(up * float64(time.Second)))
}

// varied names what was not the same in the second run.
func varied(out executor.Outcome) []string {
	all := append([]string{executor.VariedTime}, out.Varied...)
	slices.Sort(all)
	return slices.Compact(all)
}

// side is what one of the runs left, and where it is.
type side struct {
	folder string
	found  tree.Found
	world  reproduce.World
}

// compare notes the verdict, and is an error where the two differ.
func (w *walk) compare(ctx context.Context, first, second side) error {
	var sides [2]reproduce.Side
	for i, s := range []side{first, second} {
		files, err := tree.New(s.found.Entries)
		if err != nil {
			return err
		}
		root, err := w.run.root.OpenRoot(s.folder)
		if err != nil {
			return err
		}
		defer root.Close()
		sides[i] = reproduce.Side{Root: root, Files: files, World: s.world}
	}
	w.doing("comparing outputs")
	all, err := reproduce.Compare(ctx, sides[0], sides[1])
	if err != nil || len(all) == 0 {
		return err
	}
	w.facts.Reproduction.Verdict = receipt.Different
	for _, d := range all {
		w.facts.Reproduction.Differences = append(w.facts.Reproduction.Differences, receipt.Difference{
			Path: text(d.Path), Inside: text(d.Inside), Offset: d.Offset, Cause: string(d.Cause),
		})
	}
	report := w.diffoscope(ctx, w.run.space.abs(first.folder), w.run.space.abs(second.folder))
	return w.notReproducible(all, report)
}

// text is a name as a receipt has it.
func text(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// notReproducible says what differs, and what can be done about it.
func (w *walk) notReproducible(all []reproduce.Difference, report string) error {
	const most = 5
	lines := make([]string, 0, most)
	var hints []string
	for i, d := range all {
		if i < most {
			lines = append(lines, d.String())
		}
		if hint := remedy(d.Cause); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if more := len(all) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	if report != "" {
		hints = append(hints, "diffoscope's report is in "+report)
	}
	return w.at(w.step.RunPos, "the step is not reproducible: "+strings.Join(lines, "; "), hints...)
}

// remedy is what helps against a cause.
func remedy(c reproduce.Cause) string {
	switch c {
	case reproduce.Timestamp:
		return "timestamp: have the tool take the time from SOURCE_DATE_EPOCH, which --deterministic sets, or leave it out"
	case reproduce.Path:
		return "path: use relative paths, or map them away (-trimpath, -ffile-prefix-map)"
	case reproduce.Hostname, reproduce.CPUs:
		return string(c) + ": leave it out, or run with --deterministic, which fixes it"
	case reproduce.User:
		return "user: give archives a fixed owner (tar --owner=0 --group=0 --numeric-owner)"
	case reproduce.Umask, reproduce.Mode:
		return string(c) + ": set permissions explicitly (install -m, tar --mode)"
	case reproduce.Links:
		return "links: leave out of listings how many links a folder has (find -printf, stat -c), which its file system decides"
	case reproduce.Order:
		return "order: sort what is listed, hashed or built in parallel (tar --sort=name, sort, make -j1)"
	case reproduce.Random:
		return "random: take a fixed seed, and no temporary names, process numbers or addresses"
	case reproduce.Compression:
		return "compression: fix the level and the number of threads"
	}
	return ""
}

// diffoscopeTime bounds how long a report may take.
const diffoscopeTime = time.Minute

// diffoscope has the program of that name write a report, where there is one,
// and returns its path. It reads what a step left, as it would when its user
// called it.
func (w *walk) diffoscope(ctx context.Context, first, second string) string {
	if w.run.Diffoscope == "" || w.log == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, diffoscopeTime)
	defer cancel()
	w.doing("writing diffoscope's report")
	report := filepath.Join(filepath.Dir(w.log.path), w.step.Name+".diffoscope.txt")
	cmd := exec.CommandContext(ctx, w.run.Diffoscope, "--text", report, "--exclude-directory-metadata=recursive", "--", first, second)
	cmd.Env, cmd.Dir = w.run.Environ, w.run.Root
	err := cmd.Run() // which ends with 1 where there are differences
	if info, statErr := os.Stat(report); statErr != nil || info.Size() == 0 {
		w.warn(fmt.Sprintf("diffoscope wrote no report: %v", err))
		return ""
	}
	return report
}

// hostnames are what a step may take this machine's name for: its own, or the one
// that it has in a container.
func hostnames() []string {
	names := []string{"attest"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return names
}

// wait waits for a time that may be over.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tail keeps the end of what is written to it. Two streams may write to it.
type tail struct {
	mu   sync.Mutex
	last []byte
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	if over := len(t.last) - maxTail; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.last), []byte("\n"))
	return string(lines[len(lines)-1])
}
