// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func TestReceipt(t *testing.T) {
	p := newProject(t, `env: {MODE: fast}
steps:
  build:
    run: make all
    image: busybox:1
    inputs: [src/, "*.txt", "!b.txt"]
    outputs: [dist/, "log?"]
    env: {LEVEL: 3}
    pass_env: [TOKEN, NONE]
    attestation: {type: build}
  check:
    run: [test, -f, dist/file]
    inputs: []
    needs: [build]
`, map[string]string{"src/main.c": "int main;", "src/sub/x.h": "", "a.txt": "a", "b.txt": "b"}, nil)
	p.options.Environ = []string{"TOKEN=s3cret-value", "OTHER=x"}
	now := time.Date(2026, 12, 1, 15, 30, 52, 999e6, time.FixedZone("", 3600))
	p.options.Now = func() time.Time { return now }
	rec := p.run()

	blake := func(s string) digest.Digest { return digest.Of([]byte(s)) }
	src, err := tree.New([]tree.Entry{
		{Path: "main.c", Kind: tree.File, Perm: 0o644, Size: 9, Digest: blake("int main;")},
		{Path: "sub/x.h", Kind: tree.File, Perm: 0o644, Digest: blake("")},
	})
	if err != nil {
		t.Fatal(err)
	}
	dist, err := tree.New([]tree.Entry{{Path: "file", Kind: tree.File, Perm: 0o644, Size: 5, Digest: blake("build")}})
	if err != nil {
		t.Fatal(err)
	}
	distPath := receipt.Path{Path: "dist/", Hash: dist.Digest(), SHA256: digest.OfSHA256(dist.Listing())}
	logPath := receipt.Path{Path: "log", Mode: "0644", Hash: blake("build"), SHA256: digest.OfSHA256([]byte("build"))}
	want := &receipt.Receipt{
		Schema: receipt.Schema, PipelineHash: blake(p.read("attest.yaml")),
		Timestamp: time.Date(2026, 12, 1, 14, 30, 52, 0, time.UTC), Version: "1.2.3", Status: receipt.Succeeded,
		Pipeline:    receipt.Pipeline{Name: "test", File: "attest.yaml"},
		Environment: receipt.Environment{OS: runtime.GOOS, Arch: runtime.GOARCH, Engine: "engine of the test"},
		Steps: []receipt.Step{{
			Name: "build", Command: "make all", Type: "build", Status: receipt.Succeeded, Cache: receipt.Off,
			Key: rec.Receipt.Steps[0].Key, Isolation: "container", Network: "none", Controls: []string{"none"},
			Image: "busybox:1@" + imageDigest, Env: map[string]string{"MODE": "fast", "LEVEL": "3"}, PassEnv: []string{"TOKEN", "NONE"},
			Inputs:  []receipt.Path{{Path: "a.txt", Mode: "0644", Hash: blake("a")}, {Path: "src/", Hash: src.Digest()}},
			Outputs: []receipt.Path{distPath, logPath}, Log: blake(""),
		}, {
			Name: "check", Command: "[test -f dist/file]", Status: receipt.Succeeded, Cache: receipt.Off,
			Key: rec.Receipt.Steps[1].Key, Isolation: "process", Network: "host", Controls: []string{"none"},
			Env: map[string]string{"MODE": "fast"}, Needs: []string{"build"},
			Inputs: []receipt.Path{{Path: "dist/", Hash: dist.Digest()}, {Path: "log", Mode: "0644", Hash: blake("build")}},
			Log:    blake(""),
		}},
	}
	if rec.Receipt.Steps[0].Key.IsZero() || rec.Receipt.Steps[1].Key.IsZero() {
		t.Error("a step has no key")
	}
	same := cmp.Comparer(func(a, b digest.Digest) bool { return a == b })
	if diff := cmp.Diff(want, rec.Receipt, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCoverKnowsWhatCameLater: a folder that was all input when its step ran
// cannot stand for the input once another step has left a file in it.
func TestCoverKnowsWhatCameLater(t *testing.T) {
	p := newProject(t, `steps:
  first: {run: x, inputs: [src/]}
  second: {run: x, inputs: [], outputs: [src/made]}
`, map[string]string{"src/a": "1"}, nil)
	p.options.Jobs = 1
	rec := p.run()
	if in := rec.Receipt.Steps[0].Inputs; len(in) != 1 || in[0].Path != "src/a" {
		t.Errorf("inputs are %v, want src/a alone", in)
	}
}

func TestJobHasWhatWasPlanned(t *testing.T) {
	var got executor.Job
	p := newProject(t, `env: {C: pipeline}
steps:
  s:
    run: "true"
    inputs: [in]
    outputs: [out]
    working_dir: sub
    env: {B: step}
    pass_env: [A, ABSENT, EMPTY]
    timeout_secs: 7
`, map[string]string{"in": "1"}, inMemory{"s": func(_ context.Context, j job) (int, error) {
		got = j.Job
		if items, err := os.ReadDir(j.Staging); err != nil || len(items) > 0 {
			return 0, fmt.Errorf("staging holds %v, %v", items, err)
		}
		if info, err := os.Stat(filepath.Dir(j.Staging)); err != nil || info.Mode().Perm() != 0o700 {
			return 0, fmt.Errorf("staging may be entered by others: %v, %v", info.Mode(), err)
		}
		return 0, leaveAll(j)
	}})
	p.options.Environ = []string{"A=first", "A=caller", "EMPTY=", "PATH=/bin"}
	rec := p.run()
	want := []pipeline.Var{{Name: "A", Value: "caller"}, {Name: "B", Value: "step"}, {Name: "C", Value: "pipeline"}, {Name: "EMPTY"}}
	if diff := cmp.Diff(want, got.Env); diff != "" {
		t.Errorf("environment, -want +got:\n%s", diff)
	}
	if got.WorkingDir != "sub" || got.Timeout != 7*time.Second || got.Root != p.dir || got.Inputs.Len() != 1 || len(got.Outputs) != 1 {
		t.Errorf("job is %+v", got)
	}
	if env := rec.Receipt.Steps[0].Env; len(env) != 2 || env["B"] != "step" || env["C"] != "pipeline" {
		t.Errorf("the receipt's env is %v: a variable of the caller must not show", env)
	}
}

func TestPassedValues(t *testing.T) {
	const secret = "s3cret-value"
	keys := map[string]digest.Digest{}
	for _, value := range []string{secret, "other", ""} {
		p := newProject(t, "steps: {s: {run: x, inputs: [], pass_env: [TOKEN]}}\n", nil, inMemory{
			"s": func(context.Context, job) (int, error) {
				return 0, fmt.Errorf("starting with\nTOKEN=%s: no such luck", secret)
			},
		})
		p.options.Environ = []string{"TOKEN=" + value}
		rec, err := p.fail()
		keys[value] = rec.Receipt.Steps[0].Key
		text, err2 := receipt.Marshal(rec.Receipt)
		if err2 != nil {
			t.Fatal(err2)
		}
		if value == secret && bytes.Contains(text, []byte(secret)) {
			t.Errorf("the receipt tells the secret:\n%s", text)
		}
		if e := rec.Receipt.Steps[0].Error; strings.Contains(e, "\n") || !strings.HasPrefix(e, "starting with TOKEN=") {
			t.Errorf("error in the receipt: %q", e)
		}
		if !strings.Contains(err.Error(), secret) {
			t.Error("the caller is not told what happened")
		}
	}
	if keys[secret] == keys["other"] || keys[secret] == keys[""] {
		t.Error("the value does not enter the key")
	}
}

func TestMissingOutputs(t *testing.T) {
	p := newProject(t, `steps:
  s:
    run: x
    inputs: []
    outputs:
      - there
      - gone/
      - "maybe?"
      - "*.none"
`, map[string]string{"gone/old": "old", "maybe": "old"}, inMemory{
		"s": func(_ context.Context, j job) (int, error) {
			var lines strings.Builder
			for i := range 50 {
				fmt.Fprintf(&lines, "line %d\n", i)
			}
			return 0, errors.Join(say(j.Stdout, lines.String()), j.put("there", "new"))
		},
	})
	rec, err := p.fail()
	var step *engine.StepError
	if !errors.As(err, &step) || step.ExitCode != 0 {
		t.Fatalf("error is %v", err)
	}
	if tail := string(step.Tail); strings.Count(tail, "\n") != 19 || !strings.HasPrefix(tail, "line 30\n") || !strings.HasSuffix(tail, "line 49") {
		t.Errorf("tail is %q", tail)
	}
	all := source.All(err)
	if len(all) != 2 || all[0].Pos.Line != 9 || all[1].Pos.Line != 11 || all[0].Snippet == "" || len(all[0].Hints) == 0 {
		t.Fatalf("errors with a place: %v", all)
	}
	if !strings.Contains(all[0].Msg, `"gone/"`) || step.Pos != all[0].Pos {
		t.Errorf("first error is %q, the step's place %v", all[0].Msg, step.Pos)
	}
	if p.exists("there") || !p.exists("gone/old") || !p.exists("maybe") {
		t.Error("a step that did not succeed changed the project")
	}
	if rec.Receipt.Steps[0].Log.IsZero() {
		t.Error("what it printed is not in the receipt")
	}
}

func TestTimeout(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: [], timeout_secs: 1}}\n", nil, nil)
	p.options.Executors[pipeline.Process] = outcome{executor.Outcome{ExitCode: executor.ExitTimeout, TimedOut: true}}
	rec, err := p.fail()
	var step *engine.StepError
	if !errors.As(err, &step) || !step.TimedOut || step.ExitCode != 124 || !strings.Contains(err.Error(), "timeout of 1s") {
		t.Errorf("error is %v", err)
	}
	if got := rec.Receipt.Steps[0].ExitCode; got != 124 {
		t.Errorf("the receipt's exit code is %d", got)
	}
}

// TestLimitsThatWereMet: who fails by a limit is told which, and where it stands.
func TestLimitsThatWereMet(t *testing.T) {
	for _, test := range []struct {
		name, limits string
		outcome      executor.Outcome
		want, hint   string
	}{
		{"killed", "{memory: 64MB}", executor.Outcome{ExitCode: 137, Met: []string{"memory"}},
			"the command was killed at its memory limit of 64 MB", "raise limits.memory, which stands at attest.yaml:3:50"},
		{"something that it ran", "{memory: 64MiB}", executor.Outcome{ExitCode: 2, Met: []string{"memory"}},
			"exit code 2: something that it ran was killed at its memory limit of 64 MiB", "attest.yaml:3:50"},
		{"by no limit of its own", "{}", executor.Outcome{ExitCode: 137, Met: []string{"memory"}},
			"the command was killed for want of memory", "raise limits.memory"},
		{"by itself", "{memory: 64MB}", executor.Outcome{ExitCode: 137}, "exit code 137 (signal 9)", ""},
		{"processes", "{pids: 9}", executor.Outcome{ExitCode: 2, Met: []string{"pids"}}, "limit of 9 processes", "raise limits.pids, which stands at attest.yaml:3:48"},
		{"a file", "{file_size: 3KB}", executor.Outcome{ExitCode: 153}, "killed at its limit of 3 KB for the size of a file", "limits.file_size"},
		{"stopped", "{memory: 64MB}", executor.Outcome{ExitCode: 124, TimedOut: true, Met: []string{"memory"}}, "timeout", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProject(t, "steps: {s: {run: x, inputs: [], limits: "+test.limits+"}}\n", nil, nil)
			p.options.Executors[pipeline.Process] = outcome{test.outcome}
			_, err := p.fail()
			all := source.All(err)
			if len(all) != 1 || !strings.Contains(all[0].Msg, test.want) || all[0].Pos.Line != 3 {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
			if hints := strings.Join(all[0].Hints, "\n"); !strings.Contains(hints, test.hint) || test.hint == "" && hints != "" {
				t.Errorf("hints %q, want %q", hints, test.hint)
			}
		})
	}
}

// outcome is an executor that has always the same to say.
type outcome struct{ executor.Outcome }

// Run implements executor.Executor.
func (o outcome) Run(context.Context, executor.Job, executor.Streams) (executor.Outcome, error) {
	return o.Outcome, nil
}

func TestAnotherImageThanPlanned(t *testing.T) {
	for name, ran := range map[string]string{
		"another": "busybox:1@sha256:" + strings.Repeat("ab", 32), "none": "", "no digest": "busybox:1",
	} {
		p := newProject(t, "steps: {s: {run: x, image: busybox:1, inputs: []}}\n", nil, nil)
		p.options.Executors[pipeline.Container] = outcome{executor.Outcome{Image: ran}}
		_, err := p.fail()
		var image *executor.ImageError
		if !errors.As(err, &image) || image.Image != "busybox:1" {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestImageThatIsNotThere(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, image: busybox:1, inputs: []}}\n", nil, nil)
	none := errors.New("no such image")
	p.options.Images = func(context.Context, string) (string, error) { return "", none }
	rec, err := p.fail()
	if !errors.Is(err, none) || !rec.Receipt.Steps[0].Log.IsZero() {
		t.Errorf("error is %v, log %v", err, rec.Receipt.Steps[0].Log)
	}
}

func TestInputThatIsNotThere(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: [nothing.txt]}}\n", nil, nil)
	_, err := p.fail()
	if all := source.All(err); len(all) != 1 || all[0].Pos.Line != 3 {
		t.Errorf("error is %v", err)
	}
}

func TestLogIsTheEventsData(t *testing.T) {
	long := strings.Repeat("x", 40<<10) // longer than what is held of a line
	pieces := []string{"one\ntwo", " and a half\n", "\x1b[31mred\x1b[0m\r\n", "\xff\xfe\x00", "é", long, "\nend"}
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, inMemory{
		"s": func(_ context.Context, j job) (int, error) {
			for _, s := range pieces {
				if err := say(j.Stdout, s); err != nil {
					return 0, err
				}
			}
			return 0, say(j.Stderr, "to stderr\n")
		},
	})
	var data, out strings.Builder
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if l, ok := e.Body.(event.StepLog); ok {
			data.WriteString(l.Data)
			if len(l.Data) > 16<<10 {
				t.Errorf("a piece of %d bytes", len(l.Data))
			}
			if l.Stream == "stdout" {
				out.WriteString(l.Data)
			}
		}
	}))
	rec := p.run()
	file, err := os.ReadFile(rec.Results[0].Log)
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != data.String() {
		t.Error("the log is not the data of the events")
	}
	if out.String() != strings.Join(pieces, "") {
		t.Error("stdout did not arrive byte for byte")
	}
	if rec.Receipt.Steps[0].Log != digest.Of(file) {
		t.Error("the receipt has another log")
	}
	if want := filepath.Join(rec.LogDir, "s.log"); rec.Results[0].Log != want || !strings.HasPrefix(want, p.path(".attest/logs")) {
		t.Errorf("the log is at %s", rec.Results[0].Log)
	}
}

// TestLargeOutputStaysOutOfMemory prints much more than may be held.
func TestLargeOutputStaysOutOfMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 256 MB")
	}
	line := bytes.Repeat([]byte("0123456789abcde\n"), 4096) // 64 KB
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, inMemory{
		"s": func(_ context.Context, j job) (int, error) {
			for range 4096 {
				if _, err := j.Stdout.Write(line); err != nil {
					return 0, err
				}
			}
			return 0, nil
		},
	})
	var peak uint64
	p.options.Sink = event.SinkFunc(func(e event.Event) {
		if e.Seq%1024 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	})
	if _, err := engine.Run(context.Background(), p.options); err != nil {
		t.Fatal(err)
	}
	if peak == 0 || peak > 64<<20 {
		t.Errorf("the heap grew to %d MB", peak>>20)
	}
}

func TestTwoRunsInOneSecondKeepTheirLogs(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, nil)
	p.options.Now = func() time.Time { return time.Unix(1e9, 0) }
	one, two := p.run(), p.run()
	if one.LogDir == two.LogDir {
		t.Errorf("both runs have their logs in %s", one.LogDir)
	}
}

func TestClockThatGoesBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, nil)
	p.options.Now = func() time.Time { now = now.Add(-time.Hour); return now.Round(0) }
	if rec := p.run(); rec.Receipt.Duration != 0 || rec.Receipt.Steps[0].Duration != 0 {
		t.Errorf("durations are %v and %v", rec.Receipt.Duration, rec.Receipt.Steps[0].Duration)
	}
}
