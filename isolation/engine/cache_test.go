// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// cached makes a project whose results are kept. ran counts the commands that
// really run, by step.
func cached(t *testing.T, yaml string, files map[string]string, run inMemory) (p *project, ran *counter) {
	t.Helper()
	ran = &counter{}
	p = newProject(t, yaml, files, run)
	p.options.NoCache = false
	for level, e := range p.options.Executors {
		p.options.Executors[level] = counting{e.(inMemory), ran}
	}
	return p, ran
}

// counting is an executor that says what it runs.
type counting struct {
	inMemory
	ran *counter
}

// Run implements executor.Executor.
func (c counting) Run(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	c.ran.add(j.Step)
	return c.inMemory.Run(ctx, j, s)
}

// counter says which steps ran.
type counter struct {
	mu    sync.Mutex
	steps []string
}

func (c *counter) add(step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, step)
}

// take returns the steps that ran since the last call, ordered.
func (c *counter) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.steps)
	all := strings.Join(c.steps, " ")
	c.steps = nil
	return all
}

// uses returns what the receipt says of the cache.
func uses(rec *engine.Record) string {
	var all []string
	for _, s := range rec.Receipt.Steps {
		all = append(all, s.Name+":"+string(s.Cache))
	}
	return strings.Join(all, " ")
}

const twoSteps = `steps:
  build: {run: make, image: busybox:1, inputs: [src/], outputs: [dist/, log], pass_env: [TOKEN]}
  test: {run: check, inputs: [], needs: [build], outputs: [report]}
`

// twoCommands leave outputs of all kinds.
var twoCommands = inMemory{"build": func(_ context.Context, j job) (int, error) {
	src, err := os.ReadFile(filepath.Join(j.Root, "src/main"))
	if err != nil {
		return 0, err
	}
	at := func(name string) string { return filepath.Join(j.Staging, name) }
	return 0, errors.Join(
		j.put("dist/sub/app", strings.TrimRight(string(src), " \n")), os.Chmod(at("dist/sub/app"), 0o751), os.Chmod(at("dist/sub"), 0o711),
		os.Symlink("sub/app", at("dist/link")), os.Mkdir(at("dist/empty"), 0o700),
		j.put("log", "made"), os.Chmod(at("log"), 0o600), say(j.Stdout, "building\n"),
	)
}}

// state is everything that stands in the project but .attest: what it is, and
// when it was last changed.
func (p *project) state() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == ".attest" {
			return errors.Join(err, fs.SkipDir)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s := tree.StatOf(info)
		what := info.Mode().String() + " " + time.Unix(0, s.Mtime).String() + " " + time.Unix(0, s.Ctime).String()
		if info.Mode().IsRegular() {
			what += " " + p.read(p.rel(path))
		}
		all[p.rel(path)] = what
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipDir) {
		p.t.Fatal(err)
	}
	return all
}

func (p *project) rel(path string) string {
	rel, err := filepath.Rel(p.dir, path)
	if err != nil {
		p.t.Fatal(err)
	}
	return filepath.ToSlash(rel)
}

// content is state without times.
func (p *project) content() map[string]string {
	all := p.state()
	for name, what := range all {
		mode, _, _ := strings.Cut(what, " ")
		if mode[0] == '-' {
			mode += " " + p.read(name)
		}
		all[name] = mode
	}
	delete(all, ".") // the folder of the test
	return all
}

// TestHit wants nothing run and nothing touched, and the facts of the first run
// in the second one's receipt.
func TestHit(t *testing.T) {
	p, ran := cached(t, twoSteps, map[string]string{"src/main": "1"}, twoCommands)
	first := p.run()
	before := p.state()
	second := p.run()
	if got := ran.take(); got != "build test" {
		t.Errorf("ran %s", got)
	}
	if d := cmp.Diff(before, p.state()); d != "" {
		t.Errorf("a hit touched the project:\n%s", d)
	}
	if uses(first) != "build:miss test:miss" || uses(second) != "build:hit test:hit" {
		t.Errorf("the receipts say %s, %s", uses(first), uses(second))
	}
	want := slices.Clone(first.Receipt.Steps)
	for i := range want {
		want[i].Cache, want[i].Duration = receipt.Hit, second.Receipt.Steps[i].Duration
	}
	if d := cmp.Diff(want, second.Receipt.Steps, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); d != "" {
		t.Errorf("the facts differ:\n%s", d)
	}
	if second.Receipt.Environment.Engine != "" {
		t.Errorf("a run without an engine names %q", second.Receipt.Environment.Engine)
	}
	for i, r := range second.Results {
		if !slices.Equal(r.Outputs.Entries(), first.Results[i].Outputs.Entries()) || r.Log != "" {
			t.Errorf("step %d left %+v", i, r)
		}
	}
	if second.LogDir != "" || p.exists(".attest/tmp") && len(p.names(".attest/tmp")) > 0 || len(p.names(".attest/logs")) != 1 {
		t.Error("a run without work made folders")
	}
}

func (p *project) names(dir string) (names []string) {
	p.t.Helper()
	items, err := os.ReadDir(p.path(dir))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, i := range items {
		names = append(names, i.Name())
	}
	return names
}

// TestOutputsComeBack changes outputs in every way, and wants them as they were
// without a command being run.
func TestOutputsComeBack(t *testing.T) {
	p, ran := cached(t, twoSteps, map[string]string{"src/main": "1"}, twoCommands)
	p.run()
	want := p.content()
	ran.take()
	for name, change := range map[string]func() error{
		"folder removed": func() error { return os.RemoveAll(p.path("dist")) },
		"all removed": func() error {
			return errors.Join(os.RemoveAll(p.path("dist")), os.Remove(p.path("log")), os.Remove(p.path("report")))
		},
		"file removed":     func() error { return os.Remove(p.path("log")) },
		"content":          func() error { return os.WriteFile(p.path("dist/sub/app"), []byte("2"), 0o751) },
		"mode":             func() error { return os.Chmod(p.path("dist/sub/app"), 0o755) },
		"mode of a folder": func() error { return os.Chmod(p.path("dist/sub"), 0o755) },
		"mode of the top":  func() error { return os.Chmod(p.path("dist"), 0o700) },
		"mode of nothing":  func() error { return os.Chmod(p.path("dist/empty"), 0o755) },
		"a file more":      func() error { return os.WriteFile(p.path("dist/more"), nil, 0o644) },
		"a folder more":    func() error { return os.Mkdir(p.path("dist/more"), 0o755) },
		"no empty folder":  func() error { return os.Remove(p.path("dist/empty")) },
		"link retargeted": func() error {
			return errors.Join(os.Remove(p.path("dist/link")), os.Symlink("../log", p.path("dist/link")))
		},
		"file for a folder": func() error {
			return errors.Join(os.RemoveAll(p.path("dist")), os.WriteFile(p.path("dist"), nil, 0o644))
		},
		"link for a folder": func() error {
			return errors.Join(os.Rename(p.path("dist"), p.path("moved")), os.Symlink("moved", p.path("dist")))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		rec := p.run()
		if got := ran.take(); got != "" || uses(rec) != "build:hit test:hit" {
			t.Errorf("%s: ran %q; %s", name, got, uses(rec))
		}
		if err := os.RemoveAll(p.path("moved")); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, p.content()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// TestEarlyCutoff: a dependent sees outputs, not what they were made from.
func TestEarlyCutoff(t *testing.T) {
	p, ran := cached(t, twoSteps, map[string]string{"src/main": "1"}, twoCommands)
	p.run()
	ran.take()
	p.write("src/main", "1  \n")
	if rec := p.run(); uses(rec) != "build:miss test:hit" || ran.take() != "build" {
		t.Errorf("another input, the same output: %s", uses(rec))
	}
	p.write("src/main", "2")
	if rec := p.run(); uses(rec) != "build:miss test:miss" || ran.take() != "build test" {
		t.Errorf("another output: %s", uses(rec))
	}
	p.write("src/main", "1")
	if rec := p.run(); uses(rec) != "build:hit test:hit" || ran.take() != "" || p.read("dist/sub/app") != "1" {
		t.Errorf("back to the first: %s, %q", uses(rec), p.read("dist/sub/app"))
	}
}

// TestCacheOff: three ways to do without.
func TestCacheOff(t *testing.T) {
	for name, yaml := range map[string]string{
		"the pipeline": "cache: {enabled: false}\nsteps: {s: {run: x, inputs: []}}\n",
		"the step":     "steps: {s: {run: x, inputs: [], cache: false}}\n",
		"the run":      "steps: {s: {run: x, inputs: []}}\n",
	} {
		p, ran := cached(t, yaml, nil, nil)
		p.options.NoCache = name == "the run"
		p.run()
		reason := p.lastReason()
		if rec := p.run(); uses(rec) != "s:off" || ran.take() != "s s" || *reason != "cache off" {
			t.Errorf("%s: %s, %q", name, uses(rec), *reason)
		}
		p.options.ExpectCached = true
		if rec, err := p.fail(); !errors.Is(err, engine.ErrNotCached) || ran.take() != "" {
			t.Errorf("%s: %v, %s", name, err, uses(rec))
		}
	}
}

// TestOnlySuccessIsKept: neither a failure nor an exit code of 0 with an output
// missing is a result.
func TestOnlySuccessIsKept(t *testing.T) {
	fail := true
	p, ran := cached(t, "steps: {s: {run: x, inputs: [], outputs: [out]}}\n", nil, inMemory{"s": func(_ context.Context, j job) (int, error) {
		if fail {
			return 3, nil
		}
		return 0, nil
	}})
	p.fail()
	p.fail()
	fail = false
	p.fail()
	p.fail()
	if got := ran.take(); got != "s s s s" {
		t.Errorf("ran %s", got)
	}
}

// TestInputsThatChangeMeanwhile: the command may have seen either, so its result
// belongs to no key.
func TestInputsThatChangeMeanwhile(t *testing.T) {
	var change func(j job) error
	p, ran := cached(t, "steps: {s: {run: x, inputs: [in, \"more*\"], outputs: [out]}}\n", map[string]string{"in": "1", "more1": ""},
		inMemory{"s": func(_ context.Context, j job) (int, error) { return 0, errors.Join(j.put("out", "x"), change(j)) }})
	var warnings []string
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if w, ok := e.Body.(event.Warning); ok {
			warnings = append(warnings, w.Message)
		}
	}))
	in := p.path("in")
	for name, c := range map[string]func(job) error{
		"content": func(job) error { return os.WriteFile(in, []byte("2"), 0o644) },
		"content, with the time put back": func(job) error {
			info, err := os.Stat(in)
			return errors.Join(err, os.WriteFile(in, []byte("3"), 0o644), os.Chtimes(in, info.ModTime(), info.ModTime()))
		},
		"there and back": func(job) error {
			return errors.Join(os.WriteFile(in, []byte("4"), 0o644), os.WriteFile(in, []byte("1"), 0o644))
		},
		"another and back": func(job) error {
			aside := p.path("aside")
			return errors.Join(os.Rename(in, aside), os.WriteFile(in, []byte("5"), 0o644), os.Rename(aside, in))
		},
		"gone": func(job) error { return os.Remove(in) },
		"more": func(job) error { return os.WriteFile(p.path("more2"), nil, 0o644) },
	} {
		p.write("in", "1")
		_ = os.Remove(p.path("more2"))
		change, warnings = c, nil
		p.run()
		if len(warnings) != 1 || !strings.Contains(warnings[0], "not kept") {
			t.Errorf("%s: warned %q", name, warnings)
		}
		ran.take()
	}
	p.write("in", "1")
	_ = os.Remove(p.path("more2"))
	change, warnings = func(job) error { return nil }, nil
	if rec := p.run(); uses(rec) != "s:miss" || ran.take() != "s" || len(warnings) > 0 {
		t.Errorf("a result was kept that belongs to no key: %s, %q", uses(rec), warnings)
	}
	if rec := p.run(); uses(rec) != "s:hit" {
		t.Errorf("%s", uses(rec))
	}
}

// TestInputsPutBack: nobody knows whether the command saw them otherwise. That does
// for a receipt with a warning, and not for a strict run.
func TestInputsPutBack(t *testing.T) {
	change := func(job) error { return nil }
	p, _ := cached(t, "steps: {s: {run: x, network: none, inputs: [in], outputs: [out]}}\n", map[string]string{"in": "1"},
		inMemory{"s": func(_ context.Context, j job) (int, error) { return 0, errors.Join(j.put("out", "x"), change(j)) }})
	p.options.Strict, p.options.NoCache = true, true
	p.run() // what is left alone is no reason
	change = func(job) error {
		return errors.Join(os.WriteFile(p.path("in"), []byte("2"), 0o644), os.WriteFile(p.path("in"), []byte("1"), 0o644))
	}
	if _, err := p.fail(); !strings.Contains(err.Error(), "written and now again as they were: in") {
		t.Errorf("got %v", err)
	}
	var warned string
	p.options.Strict = false
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if w, ok := e.Body.(event.Warning); ok {
			warned += w.Message
		}
	}))
	if p.run(); !strings.HasPrefix(warned, "the step's inputs did not stay") {
		t.Errorf("warned %q", warned)
	}
}

// overlaid makes a project whose steps have a view of their own.
func overlaid(t *testing.T, yaml string, run func(p *project) inMemory) *project {
	p, _ := cached(t, yaml, map[string]string{"in": "1"}, nil)
	p.options.Executors = map[pipeline.Isolation]executor.Executor{
		pipeline.Process: controlled{run(p), []string{process.ControlProjectOverlay}},
	}
	return p
}

// TestInputsThatOthersChange: a step with a view of its own did not change them,
// and nobody can say what its outputs were made from.
func TestInputsThatOthersChange(t *testing.T) {
	for _, name := range []string{"in", "more"} {
		p := overlaid(t, "steps: {s: {run: x, outputs: [out]}}\n", func(p *project) inMemory {
			return inMemory{"s": func(_ context.Context, j job) (int, error) {
				return 0, errors.Join(j.put("out", "x"), os.WriteFile(p.path(name), []byte("2"), 0o644))
			}}
		})
		_, err := p.fail()
		if want := "inputs changed: " + name + " while the step ran, and not by the step"; !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if p.exists("out") {
			t.Error("its output has landed")
		}
	}
}

// TestFoldersThatOthersChange: what executors and other steps do to folders is no
// error.
func TestFoldersThatOthersChange(t *testing.T) {
	p := overlaid(t, "steps: {s: {run: x, working_dir: work/dir, outputs: [out]}}\n", func(p *project) inMemory {
		return inMemory{"s": func(_ context.Context, j job) (int, error) {
			return 0, errors.Join(j.put("out", "x"), os.MkdirAll(p.path("work/dir"), 0o755))
		}}
	})
	p.run()
	if err := os.RemoveAll(p.path("work")); err != nil {
		t.Fatal(err)
	}
	if got := uses(p.run()); got != "s:hit" {
		t.Errorf("a result was not kept because the executor made a folder: %s", got)
	}

	p = overlaid(t, "steps: {s: {run: x, outputs: [out]}, o: {run: x, inputs: [], outputs: [empty/o]}}\n", func(p *project) inMemory {
		return inMemory{
			"s": func(ctx context.Context, j job) (int, error) {
				for !p.exists("empty/o") && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				return 0, j.put("out", "x")
			},
			"o": func(_ context.Context, j job) (int, error) { return 0, j.put("empty/o", "x") },
		}
	})
	if err := os.Mkdir(p.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.options.Jobs = 2
	p.run()
}

// controlled is an executor whose outcomes name controls.
type controlled struct {
	executor.Executor
	controls []string
}

func (c controlled) Run(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	out, err := c.Executor.Run(ctx, j, s)
	out.Controls = c.controls
	return out, err
}

// TestSameWorkOnce: steps of one run, and runs of two projects, that do the same
// at the same time.
func TestSameWorkOnce(t *testing.T) {
	const yaml = "steps:\n  a: {run: x, inputs: [in]}\n  b: {run: x, inputs: [in]}\n  c: {run: x, inputs: [in]}\n"
	shared := t.TempDir()
	var working, most atomic.Int32
	work := func(context.Context, job) (int, error) {
		if n := working.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(50 * time.Millisecond)
		working.Add(-1)
		return 0, nil
	}
	all := inMemory{"a": work, "b": work, "c": work}
	var group sync.WaitGroup
	counts := make([]*counter, 2)
	for i := range counts {
		p, ran := cached(t, yaml, map[string]string{"in": "same"}, all)
		p.options.CacheDir, p.options.Jobs = filepath.Join(shared, "cache"), 3
		counts[i] = ran
		group.Go(func() {
			rec, err := engine.Run(context.Background(), p.options)
			if err != nil || strings.Count(uses(rec), "hit") < 2 {
				t.Errorf("%v; %s", err, uses(rec))
			}
		})
	}
	group.Wait()
	if got := strings.Fields(counts[0].take() + " " + counts[1].take()); len(got) != 1 || most.Load() != 1 {
		t.Errorf("ran %v, %d at once", got, most.Load())
	}
}

// TestWaitingIsNotForEver: who waits for another's work does it when the other
// fails, and gives up when the run ends.
func TestWaitingIsNotForEver(t *testing.T) {
	p, ran := cached(t, "steps:\n  a: {run: x, inputs: []}\n  b: {run: x, inputs: []}\n", nil,
		inMemory{"a": func(context.Context, job) (int, error) { time.Sleep(50 * time.Millisecond); return 1, nil }, "b": func(context.Context, job) (int, error) { time.Sleep(50 * time.Millisecond); return 1, nil }})
	p.options.KeepGoing, p.options.Jobs = true, 2
	p.fail()
	if got := ran.take(); got != "a b" {
		t.Errorf("ran %s", got)
	}

	ctx, stop := context.WithCancelCause(context.Background())
	wait := func(ctx context.Context, _ job) (int, error) {
		time.AfterFunc(50*time.Millisecond, func() { stop(errStop) })
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	p, _ = cached(t, "steps:\n  a: {run: x, inputs: []}\n  b: {run: x, inputs: []}\n", nil, inMemory{"a": wait, "b": wait})
	p.options.Jobs = 2
	rec, err := engine.Run(ctx, p.options)
	if !errors.Is(err, errStop) || statuses(rec) != "a:interrupted b:interrupted interrupted" {
		t.Errorf("%v; %s", err, statuses(rec))
	}
}

// TestDamagedCache damages each file of a cache in turn, and wants the right
// outputs all the same.
func TestDamagedCache(t *testing.T) {
	p, _ := cached(t, twoSteps, map[string]string{"src/main": "1"}, twoCommands)
	p.run()
	want := p.content()
	var files []string
	err := filepath.WalkDir(p.path(".attest/cache"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files in the cache, %v", len(files), err)
	}
	for _, file := range files {
		good, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // made good under another name
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]func() error{
			"truncated": func() error { return overwrite(file, good[:len(good)/2]) },
			"flipped": func() error {
				return overwrite(file, append(slices.Clone(good[:len(good)/2]), flip(good[len(good)/2:])...))
			},
			"emptied":  func() error { return overwrite(file, nil) },
			"longer":   func() error { return overwrite(file, append(slices.Clone(good), 'x')) },
			"gone":     func() error { return os.Remove(file) },
			"a folder": func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		} {
			if err := damage(); err != nil {
				t.Fatalf("%s %s: %v", file, name, err)
			}
			if err := os.RemoveAll(p.path("dist")); err != nil {
				t.Fatal(err)
			}
			p.run()
			if d := cmp.Diff(want, p.content()); d != "" {
				t.Errorf("%s %s: wrong outputs\n%s", p.rel(file), name, d)
			}
			if err := errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, good, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) > 0 {
		b[0] ^= 1
	}
	return b
}

// overwrite replaces the content of a file that may be read-only.
func overwrite(file string, content []byte) error {
	return errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, content, 0o600))
}

// TestReplayedLog shows what was printed when the result was made.
func TestReplayedLog(t *testing.T) {
	text := strings.Repeat("a line\n", 5000) + "no end"
	p, _ := cached(t, "steps: {s: {run: x, inputs: []}}\n", nil, inMemory{"s": func(_ context.Context, j job) (int, error) {
		return 0, say(j.Stdout, text)
	}})
	var shown strings.Builder
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if l, ok := e.Body.(event.StepLog); ok {
			shown.WriteString(l.Data)
		}
	}))
	p.run()
	shown.Reset()
	p.run()
	if shown.Len() > 0 {
		t.Error("a log was shown that nobody asked for")
	}
	p.options.ReplayLogs = true
	p.run()
	if shown.String() != text {
		t.Errorf("%d bytes were shown again, of %d", shown.Len(), len(text))
	}
}

// TestCacheThatCannotBe: a run goes on without.
func TestCacheThatCannotBe(t *testing.T) {
	p, ran := cached(t, "steps: {s: {run: x, inputs: [in], outputs: [out]}}\n", map[string]string{"in": "1"}, nil)
	p.write("file", "")
	p.options.CacheDir = p.path("file")
	p.run()
	if rec := p.run(); uses(rec) != "s:off" || ran.take() != "s s" {
		t.Errorf("%s", uses(rec))
	}
}
