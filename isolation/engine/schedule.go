// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"container/heap"
	"context"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/event"
)

// schedule walks every step of the plan that can be walked, at most Jobs at a
// time and in planned order among those that are ready, and accounts for all
// others. It returns one walk for each step, in planned order.
func (r *run) schedule(ctx context.Context) []*walk {
	s := scheduler{run: r, walks: make([]*walk, len(r.Plan.Steps)), waitsFor: make([]int, len(r.Plan.Steps))}
	for i, step := range r.Plan.Steps {
		s.walks[i] = newWalk(r, i)
		if s.waitsFor[i] = len(step.Needs); s.waitsFor[i] == 0 {
			heap.Push(&s.ready, i)
		}
	}
	work, done := make(chan int), make(chan int)
	defer close(work)
	workers := 0
	for running := 0; ; running-- {
		for running < r.Jobs && len(s.ready) > 0 && !s.stopped && ctx.Err() == nil {
			i := heap.Pop(&s.ready).(int)
			if running++; running > workers {
				workers++
				go func() {
					for i := range work {
						s.walks[i].walk(ctx)
						done <- i
					}
				}()
			}
			work <- i
		}
		if running == 0 {
			break
		}
		s.ended(<-done)
	}
	s.skipRest(ctx)
	return s.walks
}

// scheduler is the state of schedule; only its goroutine touches it.
type scheduler struct {
	run      *run
	walks    []*walk
	waitsFor []int // how many needs of a step have not succeeded yet
	ready    places
	stopped  bool // no further step starts
}

// ended takes note that step i came to its end.
func (s *scheduler) ended(i int) {
	w := s.walks[i]
	if w.facts.Status != receipt.Succeeded {
		s.stopped = s.stopped || !s.run.KeepGoing
		s.skipDependents(i)
		return
	}
	for _, d := range w.step.Dependents {
		if s.waitsFor[d]--; s.waitsFor[d] == 0 {
			heap.Push(&s.ready, d)
		}
	}
}

// skipDependents skips everything that needs step i, directly or not.
func (s *scheduler) skipDependents(i int) {
	for stack := []int{i}; len(stack) > 0; {
		from := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, d := range s.walks[from].step.Dependents {
			if s.walks[d].facts.Status != "" {
				continue
			}
			s.skip(d, "step "+s.walks[from].step.Name+", which it needs, did not succeed")
			stack = append(stack, d)
		}
	}
}

// skipRest skips what was never started.
func (s *scheduler) skipRest(ctx context.Context) {
	reason := "not started, because another step failed"
	if ctx.Err() != nil {
		reason = "not started, because the run was interrupted"
	}
	for i, w := range s.walks {
		if w.facts.Status == "" {
			s.skip(i, reason)
		}
	}
}

func (s *scheduler) skip(i int, reason string) {
	w := s.walks[i]
	w.facts.Status, w.facts.Error = receipt.Skipped, reason
	s.run.events.Record(event.StepFinished{
		Step: w.step.Name, Status: string(receipt.Skipped), Cache: string(receipt.Off), Reason: reason,
	})
}

// places is a heap of places in the plan, lowest first.
type places []int

func (p places) Len() int           { return len(p) }
func (p places) Less(i, j int) bool { return p[i] < p[j] }
func (p places) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }

// Push is heap.Interface's.
func (p *places) Push(x any) { *p = append(*p, x.(int)) }

// Pop is heap.Interface's.
func (p *places) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}
