// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

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

// Analyse computes the Analysis. durations are by step name, as an earlier run
// recorded them; nil when there are none.
func (p *Plan) Analyse(durations map[string]time.Duration) Analysis {
	return Analysis{}
}
