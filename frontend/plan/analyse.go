// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// Analysis says what the time of a run hangs on. Numbers of steps are places
// in [Plan.Steps].
type Analysis struct {
	// CriticalPath is the chain of steps, each needed by the next, that takes
	// longest: no number of processors makes the run shorter than it.
	CriticalPath []int
	// CriticalTime is how long the critical path takes by the durations that
	// are known; 0 where none is.
	CriticalTime time.Duration
	// Measured reports whether the duration of every planned step was known.
	// Where none was, every step counts alike and the critical path is the
	// longest chain; a step without a duration among measured ones counts as
	// their mean.
	Measured bool
	// Levels are the steps by depth: those of one level do not need each
	// other and can run side by side.
	Levels [][]int
	// Depth is the number of levels; Width the size of the largest.
	Depth, Width int
	// Bottlenecks are the steps that others wait for, those that hold back
	// most first; at most ten.
	Bottlenecks []Bottleneck
}

// Bottleneck is a step that others wait for.
type Bottleneck struct {
	Step   int
	Blocks int // how many steps need it, directly or not
}

// maxBottlenecks bounds how many are named.
const maxBottlenecks = 10

// Analyse computes the Analysis. durations are by step name, as an earlier run
// recorded them; nil when there are none.
func (p *Plan) Analyse(durations map[string]time.Duration) Analysis {
	var a Analysis
	for i := range p.Steps {
		d := p.Steps[i].Depth
		for len(a.Levels) <= d {
			a.Levels = append(a.Levels, nil)
		}
		a.Levels[d] = append(a.Levels[d], i)
		a.Width = max(a.Width, len(a.Levels[d]))
	}
	a.Depth = len(a.Levels)
	p.critical(&a, durations)
	p.bottlenecks(&a)
	return a
}

func (p *Plan) critical(a *Analysis, durations map[string]time.Duration) {
	known, total := 0, time.Duration(0)
	for i := range p.Steps {
		if d, ok := durations[p.Steps[i].Name]; ok {
			known, total = known+1, total+max(d, 0)
		}
	}
	a.Measured = known > 0 && known == len(p.Steps)
	mean := time.Duration(1)
	if known > 0 {
		mean = total / time.Duration(known)
	}
	cost := func(i int) time.Duration {
		if d, ok := durations[p.Steps[i].Name]; ok {
			return max(d, 0)
		}
		return mean
	}
	// Every step stands after what it needs: one pass finds the longest chain
	// that ends in each. Of chains that take equally long, the one of more
	// steps counts, then the one declared first.
	finish := make([]time.Duration, len(p.Steps))
	length := make([]int, len(p.Steps))
	before := make([]int, len(p.Steps))
	longer := func(i, j int) bool { // the chain that ends in i
		return j < 0 || cmp.Or(cmp.Compare(finish[i], finish[j]), cmp.Compare(length[i], length[j])) > 0
	}
	last := -1
	for i := range p.Steps {
		before[i] = -1
		for _, j := range p.Steps[i].Needs {
			if longer(j, before[i]) {
				before[i] = j
			}
		}
		finish[i], length[i] = cost(i), 1
		if b := before[i]; b >= 0 {
			finish[i], length[i] = finish[i]+finish[b], length[b]+1
		}
		if longer(i, last) {
			last = i
		}
	}
	if last >= 0 && known > 0 {
		a.CriticalTime = finish[last]
	}
	for i := last; i >= 0; i = before[i] {
		a.CriticalPath = append(a.CriticalPath, i)
	}
	slices.Reverse(a.CriticalPath)
}

// bottlenecks counts, for every step, those that need it directly or not. It
// does so for 4096 of those at a time, one bit for each, so that memory stays
// small whatever the number of steps.
func (p *Plan) bottlenecks(a *Analysis) {
	const words = 64
	blocks := make([]int, len(p.Steps))
	behind := make([][words]uint64, len(p.Steps))
	for first := 0; first < len(p.Steps); first += words * 64 {
		// A step's dependents all stand behind it, and so before it here. Those
		// behind the window cannot block what is in it.
		end := min(first+words*64, len(p.Steps))
		for i := end - 1; i >= 0; i-- {
			set := &behind[i]
			*set = [words]uint64{}
			for _, d := range p.Steps[i].Dependents {
				if d >= end {
					continue
				}
				if d >= first {
					set[(d-first)/64] |= 1 << ((d - first) % 64)
				}
				for k, bitsOf := range &behind[d] {
					set[k] |= bitsOf
				}
			}
			for _, w := range set {
				blocks[i] += bits.OnesCount64(w)
			}
		}
	}
	for i, n := range blocks {
		if n > 0 {
			a.Bottlenecks = append(a.Bottlenecks, Bottleneck{i, n})
		}
	}
	slices.SortStableFunc(a.Bottlenecks, func(x, y Bottleneck) int { return cmp.Compare(y.Blocks, x.Blocks) })
	a.Bottlenecks = a.Bottlenecks[:min(len(a.Bottlenecks), maxBottlenecks)]
}
