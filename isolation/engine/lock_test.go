// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// web is what there is to fetch, and an executor whose every step fetches all
// of it that its lock lets through.
type web struct {
	pages map[string]string
	jobs  []executor.Job
	extra executor.Outcome
	err   error
}

// Run implements executor.Executor.
func (w *web) Run(_ context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	w.jobs = append(w.jobs, j)
	out := w.extra
	out.Engine, out.Controls, out.Image = "web", []string{"network-recorded"}, j.Image
	if !strings.Contains(j.Image, "@") {
		out.Image += "@" + imageDigest
	}
	for url, content := range w.pages {
		out.Fetched = append(out.Fetched, executor.Fetch{URL: url, SHA256: digest.OfSHA256([]byte(content))})
	}
	return out, errors.Join(w.err, leaveAll(job{j, s}))
}

const recordedStep = `
steps:
  deps: {run: fetch, image: img, inputs: [], outputs: [out], network: {mode: recorded, allow: [example.org]}}
`

// online is a project whose one step fetches what w has.
func online(t *testing.T, w *web) *project {
	t.Helper()
	p := newProject(t, recordedStep, nil, inMemory{})
	p.options.Executors[pipeline.Container] = w
	p.options.NoCache = false
	return p
}

func sha(s string) digest.Digest { return digest.OfSHA256([]byte(s)) }

// locked is a lock for the step and its image.
func locked(t *testing.T, pages map[string]string) *lock.Lock {
	t.Helper()
	image, err := digest.Parse(imageDigest)
	if err != nil {
		t.Fatal(err)
	}
	l := &lock.Lock{
		Images: map[string]digest.Digest{"img": image},
		Steps:  map[string]map[string]digest.Digest{"deps": {}},
	}
	for url, content := range pages {
		l.Steps["deps"][url] = sha(content)
	}
	return l
}

func TestFetchedIsRecorded(t *testing.T) {
	w := &web{pages: map[string]string{"https://example.org/a": "1"}}
	p := online(t, w)
	rec := p.run()
	want := []receipt.Fetch{{URL: "https://example.org/a", SHA256: sha("1")}}
	for _, use := range []receipt.CacheUse{receipt.Miss, receipt.Hit} {
		s := rec.Receipt.Steps[0]
		if diff := cmp.Diff(want, s.Fetched, cmp.AllowUnexported(digest.Digest{})); diff != "" || s.Cache != use {
			t.Errorf("cache %s, fetched (-want +got):\n%s", s.Cache, diff)
		}
		rec = p.run()
	}
	if got := w.jobs[0]; got.Network != pipeline.NetworkRecorded || len(got.NetworkAllow) != 1 || got.Locked != nil || got.Image != "img" {
		t.Errorf("the job was %+v", got)
	}
}

// A lock says which image runs, and nobody is asked.
func TestLockedImage(t *testing.T) {
	w := &web{}
	p := online(t, w)
	p.options.Lock = locked(t, nil)
	p.options.Lock.Images["img"] = sha("another")
	p.options.Images = func(context.Context, string) (string, error) {
		t.Error("somebody was asked what the image is")
		return "", errors.New("no")
	}
	rec := p.run()
	if want := "img@" + sha("another").String(); rec.Receipt.Steps[0].Image != want || w.jobs[0].Image != want {
		t.Errorf("ran in %q, the receipt has %q", w.jobs[0].Image, rec.Receipt.Steps[0].Image)
	}
}

func TestLockedRefuses(t *testing.T) {
	const a, b = "https://example.org/a", "https://example.org/b"
	for _, test := range []struct {
		name  string
		lock  map[string]string
		pages map[string]string
		want  string // in the error; empty where the run succeeds
	}{
		{"the same", map[string]string{a: "1"}, map[string]string{a: "1"}, ""},
		{"less", map[string]string{a: "1", b: "1"}, map[string]string{a: "1"}, ""},
		{"signed anew", map[string]string{a + "?sig=1": "1"}, map[string]string{a + "?sig=2": "1"}, ""},
		{"another content", map[string]string{a: "1"}, map[string]string{a: "2"},
			"fetched " + a + ": attest.lock wants " + sha("1").String() + "; got " + sha("2").String()},
		{"more", map[string]string{a: "1"}, map[string]string{a: "1", b: "1"},
			"fetched " + b + ": attest.lock does not have it; got " + sha("1").String()},
		{"signed anew, another content", map[string]string{a + "?sig=1": "1"}, map[string]string{a + "?sig=2": "2"},
			"attest.lock does not have it; got " + sha("2").String()},
		{"nothing locked", nil, map[string]string{a: "1"}, "attest.lock does not have it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &web{pages: test.pages}
			p := online(t, w)
			p.options.Lock, p.options.Locked = locked(t, test.lock), true
			if test.want == "" {
				p.run()
				if w.jobs[0].Locked == nil || len(w.jobs[0].Locked.URLs) != len(test.lock) {
					t.Errorf("the executor was told %+v", w.jobs[0].Locked)
				}
				return
			}
			rec, err := p.fail()
			var step *engine.StepError
			if !errors.Is(err, engine.ErrNotLocked) || !errors.As(err, &step) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if step != nil && step.Pos.Line != 5 {
				t.Errorf("the place is %v", step.Pos)
			}
			if p.exists("out") || rec.Receipt.Steps[0].Status != receipt.Failed {
				t.Error("the outputs landed")
			}
			// Without --locked it is worth a warning, and its result does not do for --locked.
			p.options.Locked = false
			warned := warnings(p)
			p.run()
			if !strings.Contains(warned.String(), "attest.lock") {
				t.Errorf("warnings: %q", warned)
			}
			p.options.Locked = true
			if _, err := p.fail(); !errors.Is(err, engine.ErrNotLocked) {
				t.Errorf("from the cache: %v", err)
			}
		})
	}
}

// What was not let through for want of a lock is the reason, whatever the
// command made of it.
func TestLockedRefusesBefore(t *testing.T) {
	for _, code := range []int{0, 4} {
		w := &web{extra: executor.Outcome{ExitCode: code, Refused: []executor.Refused{
			{URL: "https://example.org/x", Why: "refused: attest.lock does not have https://example.org/x", NotLocked: true},
		}}}
		p := online(t, w)
		p.options.Lock, p.options.Locked = locked(t, nil), true
		_, err := p.fail()
		var step *engine.StepError
		if !errors.Is(err, engine.ErrNotLocked) || !errors.As(err, &step) || step.ExitCode != code {
			t.Errorf("exit code %d: %v", code, err)
		}
	}
}

// What was refused for another reason explains a failure, and is told of where
// the command did not mind.
func TestRefused(t *testing.T) {
	no := executor.Refused{URL: "https://elsewhere.org/x", Why: "refused: elsewhere.org is not on the step's allow-list"}
	p := online(t, &web{extra: executor.Outcome{ExitCode: 4, Refused: []executor.Refused{no}}})
	_, err := p.fail()
	if hints := hintsOf(err); !strings.Contains(hints, no.URL) || !strings.Contains(hints, no.Why) {
		t.Errorf("%v, hints %q", err, hints)
	}
	p = online(t, &web{extra: executor.Outcome{Refused: []executor.Refused{no}}})
	warned := warnings(p)
	p.run()
	if !strings.Contains(warned.String(), no.URL) {
		t.Errorf("warnings: %q", warned)
	}
}

func TestLockedNeedsImages(t *testing.T) {
	w := &web{}
	p := online(t, w)
	p.options.Locked = true
	for _, l := range []*lock.Lock{nil, {}} {
		p.options.Lock = l
		_, err := engine.Run(t.Context(), p.options)
		if !errors.Is(err, engine.ErrNotLocked) || !strings.Contains(err.Error(), "image img of step deps") {
			t.Errorf("got %v", err)
		}
	}
	if len(w.jobs) > 0 {
		t.Error("it ran")
	}
	p.write("attest.yaml", head+strings.Replace(recordedStep, "img", "img@"+imageDigest, 1))
	p.replan()
	p.run() // named by digest: nothing to lock
}

// An update asks for everything anew, and what it leaves in the cache is what
// the next run with the new lock looks for.
func TestUpdate(t *testing.T) {
	w := &web{pages: map[string]string{"https://example.org/a": "1"}}
	p := online(t, w)
	p.run()
	w.pages = map[string]string{"https://example.org/a": "2"}
	p.options.Update = true
	rec := p.run()
	if len(w.jobs) != 2 {
		t.Fatalf("the step ran %d times", len(w.jobs))
	}
	l := rec.NewLock(p.options.Plan.Pipeline)
	if diff := cmp.Diff(locked(t, w.pages), l, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("the new lock (-want +got):\n%s", diff)
	}
	p.options.Update, p.options.Lock, p.options.Locked, p.options.ExpectCached = false, l, true, true
	if rec := p.run(); rec.Receipt.Steps[0].Cache != receipt.Hit {
		t.Errorf("cache %s", rec.Receipt.Steps[0].Cache)
	}
	p.options.Lock = locked(t, map[string]string{"https://example.org/a": "3"})
	if _, err := p.fail(); !errors.Is(err, engine.ErrNotCached) || !strings.Contains(err.Error(), "attest.lock changed") {
		t.Errorf("with another lock: %v", err)
	}
}

// A step that fails says what it fetched until then, and what it got nothing from:
// in the receipt, in what it tells who watches, and with a way out.
func TestFailedStepNamesItsFetches(t *testing.T) {
	refused := []executor.Refused{
		{URL: "https://b.example.com/x", Why: "refused: b.example.com is not on the step's allow-list", NotAllowed: "b.example.com"},
		{URL: "http://169.254.169.254/", Why: "refused: a recorded network does not reach 169.254.169.254"},
	}
	for name, w := range map[string]*web{
		"a command that fails":  {extra: executor.Outcome{ExitCode: 1}},
		"a command that hangs":  {extra: executor.Outcome{ExitCode: executor.ExitTimeout, TimedOut: true}},
		"an unrecorded network": {err: errors.New("the step's network was not recorded as a whole")},
	} {
		t.Run(name, func(t *testing.T) {
			w.pages = map[string]string{"https://example.org/a?t=hunter2": "1"}
			w.extra.Refused, w.extra.Unrecorded = refused, []string{"GET https://example.org/hunter2: the server did not have it"}
			p := online(t, w)
			p.write("attest.yaml", head+strings.Replace(recordedStep, "run: fetch", "run: fetch, secrets: {T: {env: T}}", 1))
			p.replan()
			p.options.Environ = []string{"T=hunter2"}
			var told *event.Findings
			p.tell(&told)
			rec, err := p.fail()
			s := rec.Receipt.Steps[0]
			if len(s.Fetched) != 1 || s.Fetched[0] != (receipt.Fetch{URL: "https://example.org/a?t=***", SHA256: sha("1")}) {
				t.Errorf("fetched %v", s.Fetched)
			}
			want := []string{"GET https://example.org/***: the server did not have it",
				"http://169.254.169.254/: refused: a recorded network does not reach 169.254.169.254",
				"https://b.example.com/x: refused: b.example.com is not on the step's allow-list"}
			if diff := cmp.Diff(want, s.Unfetched); diff != "" {
				t.Errorf("unfetched (-want +got):\n%s", diff)
			}
			if told == nil || len(told.Fetched) != 1 || len(told.Unfetched) != 3 {
				t.Errorf("who watches is told %+v", told)
			}
			if w.err != nil {
				return
			}
			hints := hintsOf(err)
			for _, line := range append(want, "network: {mode: recorded, allow: [example.org, b.example.com]}") {
				if !strings.Contains(hints, line) {
					t.Errorf("missing %q in:\n%s", line, hints)
				}
			}
			if strings.Contains(hints, "allow: [example.org, 169") {
				t.Errorf("what is never reached cannot be allowed:\n%s", hints)
			}
		})
	}
}

// A secret in a URL is in no record.
func TestFetchedWithSecret(t *testing.T) {
	t.Setenv("ATTEST_TEST_TOKEN", "")
	w := &web{pages: map[string]string{"https://example.org/p%C3%A4ss%20word/a?t=p%C3%A4ss+word": "1"}}
	p := online(t, w)
	p.write("attest.yaml", head+strings.Replace(recordedStep, "run: fetch", "run: fetch, pass_env: [TOKEN]", 1))
	p.replan()
	p.options.Environ = []string{"TOKEN=päss word"}
	rec := p.run()
	if got := rec.Receipt.Steps[0].Fetched; len(got) != 1 || got[0].URL != "https://example.org/***/a?t=***" {
		t.Errorf("fetched %v", got)
	}
}

// A lock holds URLs without secrets, and whoever keeps to it is told what else to
// leave out of those that are asked for.
func TestLockedWithSecret(t *testing.T) {
	w := &web{pages: map[string]string{"https://example.org/hunter2/a/passed": "1"}}
	p := online(t, w)
	p.write("attest.yaml", head+strings.Replace(recordedStep, "run: fetch", "run: fetch, secrets: {T: {env: T}}, pass_env: [U]", 1))
	p.replan()
	p.options.Environ = []string{"T=hunter2", "U=passed"}
	p.options.Update = true
	l := p.run().NewLock(p.options.Plan.Pipeline)
	if diff := cmp.Diff(locked(t, map[string]string{"https://example.org/***/a/***": "1"}), l, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Fatalf("the lock (-want +got):\n%s", diff)
	}
	p.options.Update, p.options.Lock, p.options.Locked = false, l, true
	if rec := p.run(); rec.Receipt.Steps[0].Cache != receipt.Hit {
		t.Errorf("cache %s", rec.Receipt.Steps[0].Cache)
	}
	p.options.NoCache = true
	p.run()
	want := &executor.Locked{URLs: []string{"https://example.org/***/a/***"}, Passed: []string{"passed"}}
	if diff := cmp.Diff(want, w.jobs[len(w.jobs)-1].Locked); diff != "" {
		t.Errorf("the executor is told (-want +got):\n%s", diff)
	}

	// Another content at the same URL, and another URL that looks the same.
	w.pages = map[string]string{"https://example.org/hunter2/a/passed": "2"}
	if _, err := p.fail(); !errors.Is(err, engine.ErrNotLocked) {
		t.Errorf("another content: %v", err)
	}
	w.pages = map[string]string{"https://example.org/hunter2/a/passed": "1", "https://example.org/passed/a/hunter2": "2"}
	if _, err := p.fail(); !errors.Is(err, engine.ErrNotLocked) {
		t.Errorf("another URL that looks the same: %v", err)
	}
	p.options.Update, p.options.Lock, p.options.Locked = true, nil, false
	if _, err := p.fail(); err == nil || !strings.Contains(err.Error(), "attest.lock cannot tell apart: https://example.org/***/a/***") {
		t.Errorf("two contents of what looks the same were locked: %v", err)
	}
}

// warnings collects what the runs of the project warn of.
func warnings(p *project) *strings.Builder {
	var all strings.Builder
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if w, ok := e.Body.(event.Warning); ok {
			all.WriteString(w.Message + "\n")
		}
	}))
	return &all
}

func hintsOf(err error) string {
	var lines []string
	for _, e := range source.All(err) {
		lines = append(lines, e.Hints...)
	}
	return strings.Join(lines, "\n")
}

// changing is a web whose page is another one each time, of which a step keeps
// what keep says.
type changing struct {
	n    int
	keep func(n int) string
}

// Run implements executor.Executor.
func (c *changing) Run(_ context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	c.n++
	out := executor.Outcome{Engine: "web", Controls: []string{"network-recorded"}, Image: j.Image + "@" + imageDigest}
	for _, f := range []struct{ url, content string }{{"https://example.org/a", fmt.Sprint(c.n)}, {"https://example.org/b", "same"}} {
		out.Fetched = append(out.Fetched, executor.Fetch{URL: f.url, SHA256: sha(f.content)})
	}
	return out, job{j, s}.put("out", c.keep(c.n))
}

// What a second run fetched explains what differs, and is said where nothing does.
func TestFetchedTwice(t *testing.T) {
	for _, c := range []struct {
		name string
		keep func(n int) string
	}{
		{"other output", func(n int) string { return fmt.Sprint("page ", n) }},
		{"same output", func(int) string { return "page" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProject(t, recordedStep, nil, inMemory{})
			p.options.Executors[pipeline.Container] = &changing{keep: c.keep}
			p.options.Plan.Steps[0].Attestation.Reproducible = true
			warned := warnings(p)
			const said = "the second run did not fetch the same: https://example.org/a"
			if c.name == "same output" {
				if rec := p.run(); rec.Receipt.Steps[0].Reproduction.Verdict != receipt.Identical {
					t.Errorf("got %+v", rec.Receipt.Steps[0].Reproduction)
				}
				if !strings.Contains(warned.String(), said+"\n") {
					t.Errorf("warned of %q", warned)
				}
				return
			}
			if _, err := p.fail(); !strings.Contains(hintsOf(err), said) {
				t.Errorf("got %v, with hints %q", err, hintsOf(err))
			}
		})
	}
}
