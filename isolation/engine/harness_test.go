// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// TestMain lets the test binary be the init of process steps.
func TestMain(m *testing.M) {
	if process.IsInit(os.Args) {
		os.Exit(process.Main())
	}
	os.Exit(m.Run())
}

// head opens every pipeline of these tests.
const head = "version: \"0.1\"\nname: test\n"

// project is a folder with an attest.yaml, and the options to run it.
type project struct {
	t       *testing.T
	dir     string
	options engine.Options
	events  *recorder
}

// newProject makes a project of the steps (YAML after the head) and files, whose
// steps are run by what run holds for them.
func newProject(t *testing.T, yaml string, files map[string]string, run inMemory) *project {
	t.Helper()
	p := &project{t: t, dir: t.TempDir(), events: &recorder{}}
	p.write("attest.yaml", head+yaml)
	for name, content := range files {
		p.write(name, content)
	}
	p.options = engine.Options{
		Root: p.dir, Sink: p.events, Version: "1.2.3", NoCache: true,
		Executors: map[pipeline.Isolation]executor.Executor{pipeline.Process: run, pipeline.Container: run},
		Images: func(_ context.Context, ref string) (string, error) {
			return ref + "@" + imageDigest, nil
		},
	}
	p.replan()
	return p
}

const imageDigest = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// replan reads attest.yaml.
func (p *project) replan() {
	p.t.Helper()
	data := p.read("attest.yaml")
	read, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(data)})
	if err != nil {
		p.t.Fatal(err)
	}
	if p.options.Plan, err = plan.New(read); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) path(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

func (p *project) write(name, content string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) read(name string) string {
	p.t.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(data)
}

// exists reports whether anything stands at name.
func (p *project) exists(name string) bool {
	_, err := os.Lstat(p.path(name))
	return err == nil
}

// run runs the project and wants success.
func (p *project) run() *engine.Record {
	p.t.Helper()
	rec, err := engine.Run(context.Background(), p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	p.check(rec)
	return rec
}

// fail runs the project and wants an error.
func (p *project) fail() (*engine.Record, error) {
	p.t.Helper()
	rec, err := engine.Run(context.Background(), p.options)
	if err == nil {
		p.t.Fatal("the run succeeded")
	}
	p.check(rec)
	return rec, err
}

// check makes sure of what holds for every record, and that nothing is left.
func (p *project) check(rec *engine.Record) {
	p.t.Helper()
	if _, err := receipt.Marshal(rec.Receipt); err != nil {
		p.t.Errorf("the receipt cannot be written: %v", err)
	}
	if len(rec.Results) != len(rec.Receipt.Steps) {
		p.t.Errorf("%d results for %d steps", len(rec.Results), len(rec.Receipt.Steps))
	}
	for i, s := range rec.Receipt.Steps {
		if s.Status != receipt.Succeeded && len(s.Outputs)+rec.Results[i].Outputs.Len() > 0 {
			p.t.Errorf("step %s is %s and has outputs", s.Name, s.Status)
		}
		if (s.Status == receipt.Succeeded) != (s.Error == "") {
			p.t.Errorf("step %s is %s, its error is %q", s.Name, s.Status, s.Error)
		}
	}
	left, err := os.ReadDir(p.path(".attest/tmp"))
	if err != nil && !os.IsNotExist(err) || len(left) > 0 {
		p.t.Errorf("left in .attest/tmp: %v, %v", left, err)
	}
	p.events.check(p.t, rec)
}

func statuses(rec *engine.Record) string {
	var b strings.Builder
	for _, s := range rec.Receipt.Steps {
		fmt.Fprintf(&b, "%s:%s ", s.Name, s.Status)
	}
	return b.String() + string(rec.Receipt.Status)
}

// job is what a step of these tests gets to work with.
type job struct {
	executor.Job
	executor.Streams
}

// put leaves an output.
func (j job) put(name, content string) error {
	at := filepath.Join(j.Staging, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.WriteFile(at, []byte(content), 0o644)
}

// inMemory is an executor whose commands are functions, by step. A step without
// one leaves each of its literal outputs with its own name as content.
type inMemory map[string]func(context.Context, job) (int, error)

// Run implements executor.Executor.
func (m inMemory) Run(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	out := executor.Outcome{Engine: "host", Controls: []string{"none"}}
	if j.Image != "" {
		out.Engine, out.Image = "engine of the test", j.Image+"@"+imageDigest
	}
	started := time.Now()
	var err error
	if f := m[j.Step]; f != nil {
		out.ExitCode, err = f(ctx, job{j, s})
	} else {
		err = leaveAll(job{j, s})
	}
	out.Duration = time.Since(started)
	return out, err
}

func leaveAll(j job) error {
	for _, o := range j.Outputs {
		name := o.Text
		if o.Glob {
			continue
		}
		if o.Folder {
			name += "/file"
		}
		if err := j.put(name, j.Step); err != nil {
			return err
		}
	}
	return nil
}

func say(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// recorder keeps the events of a run.
type recorder struct {
	mu  sync.Mutex
	all []event.Event
}

// Emit implements event.Sink.
func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

// check makes sure of what holds for the events of every run.
func (r *recorder) check(t *testing.T, rec *engine.Record) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	const before, during, after = 0, 1, 2
	state := map[string]int{}
	want := map[string]receipt.Step{}
	for _, s := range rec.Receipt.Steps {
		want[s.Name] = s
	}
	for i, e := range r.all {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
		_, first := e.Body.(event.RunStarted)
		_, last := e.Body.(event.RunFinished)
		if first != (i == 0) || last != (i == len(r.all)-1) {
			t.Fatalf("event %d of %d is %s", i+1, len(r.all), e.Body.Type())
		}
		switch b := e.Body.(type) {
		case event.StepStarted:
			if state[b.Step] != before {
				t.Errorf("step %s started twice", b.Step)
			}
			state[b.Step] = during
			for _, n := range want[b.Step].Needs {
				if state[n] != after {
					t.Errorf("step %s started before %s had ended", b.Step, n)
				}
			}
		case event.StepLog:
			if state[b.Step] != during {
				t.Errorf("step %s printed while it did not run", b.Step)
			}
		case event.StepFinished:
			skipped := b.Status == string(receipt.Skipped)
			if state[b.Step] == after || skipped != (state[b.Step] == before) {
				t.Errorf("step %s ended as %s in state %d", b.Step, b.Status, state[b.Step])
			}
			state[b.Step] = after
			if got := want[b.Step]; b.Status != string(got.Status) || b.ExitCode != got.ExitCode || b.Duration != got.Duration {
				t.Errorf("step %s: the event says %+v, the receipt %+v", b.Step, b, got)
			}
		case event.RunFinished:
			if b.Status != string(rec.Receipt.Status) || b.Duration != rec.Receipt.Duration {
				t.Errorf("the event says %+v, the receipt %s, %v", b, rec.Receipt.Status, rec.Receipt.Duration)
			}
		}
	}
	for name := range want {
		if state[name] != after {
			t.Errorf("step %s never finished", name)
		}
	}
	r.all = nil
}

// tell has what is found out about the step that ends last in runs of the project
// put into told.
func (p *project) tell(told **event.Findings) {
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if f, ok := e.Body.(event.StepFinished); ok {
			*told = f.Findings
		}
	}))
}

// lastReason returns where the reason of the step that ends last stands, in runs of
// the project from now on.
func (p *project) lastReason() *string {
	reason := new(string)
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if f, ok := e.Body.(event.StepFinished); ok {
			*reason = f.Reason
		}
	}))
	return reason
}

// settle lets the clock of the file system go on: what is written as a step begins
// may have been written while it runs, and counts for nothing.
func settle() { time.Sleep(20 * time.Millisecond) }

// onLog is a sink that calls do at the first thing that a step prints.
func onLog(next event.Sink, do func()) event.Sink {
	var once sync.Once
	return event.SinkFunc(func(e event.Event) {
		next.Emit(e)
		if _, ok := e.Body.(event.StepLog); ok {
			once.Do(do)
		}
	})
}
