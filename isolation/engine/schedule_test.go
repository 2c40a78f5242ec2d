// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
)

// diamond is a, then b and c, then d; e stands alone.
const diamond = `steps:
  a: {run: a, inputs: [], outputs: [a.out]}
  b: {run: b, inputs: [], outputs: [b.out], needs: [a]}
  c: {run: c, inputs: [], outputs: [c.out], needs: [a]}
  d: {run: d, inputs: [], outputs: [d.out], needs: [b, c]}
  e: {run: e, inputs: [], outputs: [e.out]}
`

func TestOneJobRunsInPlannedOrder(t *testing.T) {
	var order []string
	steps := inMemory{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		steps[name] = func(_ context.Context, j job) (int, error) {
			order = append(order, name) // one at a time, so without a lock
			return 0, leaveAll(j)
		}
	}
	p := newProject(t, diamond, nil, steps)
	p.options.Jobs = 1
	if got := statuses(p.run()); got != "a:succeeded b:succeeded c:succeeded d:succeeded e:succeeded succeeded" {
		t.Error(got)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, order); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestIndependentStepsMeet has b and c wait for each other.
func TestIndependentStepsMeet(t *testing.T) {
	meet := make(chan bool)
	steps := inMemory{
		"b": func(_ context.Context, j job) (int, error) { return 0, errors.Join(met(meet, true), leaveAll(j)) },
		"c": func(_ context.Context, j job) (int, error) { return 0, errors.Join(met(meet, false), leaveAll(j)) },
	}
	p := newProject(t, diamond, nil, steps)
	p.options.Jobs = 2
	p.run()
}

func met(c chan bool, send bool) error {
	timeout := time.After(10 * time.Second)
	if send {
		select {
		case c <- true:
			return nil
		case <-timeout:
		}
	} else {
		select {
		case <-c:
			return nil
		case <-timeout:
		}
	}
	return errors.New("the other step did not run at the same time")
}

func TestNeverMoreThanJobs(t *testing.T) {
	var now, most atomic.Int32
	steps, yaml := inMemory{}, "steps:\n"
	for i := range 12 {
		name := fmt.Sprintf("s%d", i)
		yaml += "  " + name + ": {run: x, inputs: []}\n"
		steps[name] = func(context.Context, job) (int, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(5 * time.Millisecond)
			now.Add(-1)
			return 0, nil
		}
	}
	p := newProject(t, yaml, nil, steps)
	p.options.Jobs = 3
	p.run()
	if most.Load() != 3 {
		t.Errorf("%d steps ran at once, want 3", most.Load())
	}
}

func exits(code int) func(context.Context, job) (int, error) {
	return func(_ context.Context, j job) (int, error) {
		return code, say(j.Stderr, "about to end\n")
	}
}

func TestFailedStepStopsTheRun(t *testing.T) {
	p := newProject(t, diamond, nil, inMemory{"b": exits(3)})
	p.options.Jobs = 1
	rec, err := p.fail()
	if got := statuses(rec); got != "a:succeeded b:failed c:skipped d:skipped e:skipped failed" {
		t.Error(got)
	}
	var step *engine.StepError
	if !errors.As(err, &step) || step.Step != "b" || step.ExitCode != 3 || step.TimedOut || string(step.Tail) != "about to end" {
		t.Errorf("error is %+v", step)
	}
	if step.Pos.Line != 5 || step.Pos.Column == 0 || step.Pos.File != "attest.yaml" {
		t.Errorf("the error's place is %v, want that of b's command", step.Pos)
	}
	for name, want := range map[string]bool{"a.out": true, "b.out": false, "c.out": false, "e.out": false} {
		if p.exists(name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
	if e := rec.Receipt.Steps[3].Error; !strings.Contains(e, "step b") {
		t.Errorf("d was skipped because: %q", e)
	}
}

func TestKeepGoing(t *testing.T) {
	p := newProject(t, diamond, nil, inMemory{"b": exits(1)})
	p.options.Jobs, p.options.KeepGoing = 1, true
	rec, err := p.fail()
	if got := statuses(rec); got != "a:succeeded b:failed c:succeeded d:skipped e:succeeded failed" {
		t.Error(got)
	}
	if strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("more than one error for one failed step: %v", err)
	}
}

func TestErrorsStandInPlannedOrder(t *testing.T) {
	slow := func(ctx context.Context, j job) (int, error) {
		time.Sleep(50 * time.Millisecond)
		return 2, nil
	}
	p := newProject(t, diamond, nil, inMemory{"b": slow, "c": exits(1), "e": exits(7)})
	p.options.Jobs, p.options.KeepGoing = 3, true
	_, err := p.fail()
	var names []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		names = append(names, e.(*engine.StepError).Step)
	}
	if diff := cmp.Diff([]string{"b", "c", "e"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRunningStepsAreWaitedFor: what runs when another step fails ends well.
func TestRunningStepsAreWaitedFor(t *testing.T) {
	failed := make(chan struct{})
	p := newProject(t, diamond, nil, inMemory{
		"a": func(context.Context, job) (int, error) { defer close(failed); return 1, nil },
		"e": func(ctx context.Context, j job) (int, error) {
			<-failed
			time.Sleep(50 * time.Millisecond)
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, leaveAll(j)
		},
	})
	p.options.Jobs = 2
	rec, _ := p.fail()
	if got := statuses(rec); got != "a:failed b:skipped c:skipped d:skipped e:succeeded failed" {
		t.Error(got)
	}
	if !p.exists("e.out") {
		t.Error("e's output did not land")
	}
}

var errStop = errors.New("the user said stop")

func TestInterrupt(t *testing.T) {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	var once sync.Once
	p := newProject(t, diamond, nil, inMemory{
		"b": func(ctx context.Context, j job) (int, error) {
			once.Do(func() { stop(errStop) })
			<-ctx.Done()
			return 0, context.Cause(ctx)
		},
	})
	p.options.Jobs, p.options.KeepGoing = 1, true
	began := time.Now()
	rec, err := engine.Run(ctx, p.options)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, errStop) {
		t.Errorf("error is %v, want the cause", err)
	}
	var step *engine.StepError
	if errors.As(err, &step) {
		t.Errorf("an interrupted step is no failed one: %v", step)
	}
	if got := statuses(rec); got != "a:succeeded b:interrupted c:skipped d:skipped e:skipped interrupted" {
		t.Error(got)
	}
	p.check(rec)
}

// TestInterruptAfterTheLastStep: what is complete is not called interrupted.
func TestInterruptAfterTheLastStep(t *testing.T) {
	ctx, stop := context.WithCancelCause(context.Background())
	p := newProject(t, "steps: {a: {run: x, inputs: []}}\n", nil, nil)
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if _, ok := e.Body.(event.StepFinished); ok {
			stop(errStop)
		}
	}))
	rec, err := engine.Run(ctx, p.options)
	if err != nil || rec.Receipt.Status != receipt.Succeeded {
		t.Errorf("status %s, error %v", rec.Receipt.Status, err)
	}
}

// TestFailureAndInterrupt: a step that failed before the interrupt stays failed.
func TestFailureAndInterrupt(t *testing.T) {
	ctx, stop := context.WithCancelCause(context.Background())
	p := newProject(t, diamond, nil, inMemory{
		"a": func(context.Context, job) (int, error) { stop(errStop); return 9, nil },
	})
	p.options.Jobs, p.options.KeepGoing = 1, true
	rec, err := engine.Run(ctx, p.options)
	if got := statuses(rec); got != "a:failed b:skipped c:skipped d:skipped e:skipped interrupted" {
		t.Error(got)
	}
	var step *engine.StepError
	if !errors.As(err, &step) || step.ExitCode != 9 || !errors.Is(err, errStop) {
		t.Errorf("error is %v, want exit code 9 and the cause", err)
	}
}

func TestSecondRunWaits(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	p := newProject(t, "steps: {a: {run: x, inputs: []}}\n", nil, inMemory{
		"a": func(context.Context, job) (int, error) {
			inside <- struct{}{}
			<-goOn
			return 0, nil
		},
	})
	first := make(chan error, 1)
	go func() {
		_, err := engine.Run(context.Background(), p.options)
		first <- err
	}()
	<-inside

	ctx, stop := context.WithCancelCause(context.Background())
	waits := make(chan string, 10)
	second := p.options
	second.Sink = event.SinkFunc(func(e event.Event) {
		if w, ok := e.Body.(event.Warning); ok {
			waits <- w.Message
		}
	})
	result := make(chan error, 1)
	go func() {
		rec, err := engine.Run(ctx, second)
		if rec != nil {
			err = fmt.Errorf("the second run began: %v", err)
		}
		result <- err
	}()
	if m := <-waits; !strings.Contains(m, "another run") {
		t.Errorf("warning is %q", m)
	}
	stop(errStop)
	if err := <-result; !errors.Is(err, errStop) {
		t.Errorf("error is %v, want the cause", err)
	}

	go func() {
		_, err := engine.Run(context.Background(), second)
		result <- err
	}()
	<-waits
	select {
	case <-inside:
		t.Fatal("two runs at once")
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	<-inside
	if err := errors.Join(<-first, <-result); err != nil {
		t.Error(err)
	}
}
