// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
)

// checkNeeds reports needs that name no step or the step itself, and cycles.
func (p *parser) checkNeeds(steps []draft, index map[string]int) {
	known := make([]string, len(steps))
	for i := range steps {
		known[i] = steps[i].Name
	}
	needs := make([][]int, len(steps))
	for i := range steps {
		for _, n := range steps[i].Needs {
			switch j, ok := index[n.Name]; {
			case !ok:
				p.unknown(n.Pos, "needs names no step: "+show(n.Name), n.Name, known)
			case j == i:
				p.report(n.Pos, "step "+show(steps[i].Name)+" needs itself", "remove "+n.Name+" from its needs")
			default:
				needs[i] = append(needs[i], j)
			}
		}
	}
	p.checkCycles(steps, needs)
}

// checkCycles takes away, again and again, the steps that need none of those
// left. Each step that stays needs another that stays, so that going from one
// to what it needs comes round: every such round is reported once.
func (p *parser) checkCycles(steps []draft, needs [][]int) {
	dependents := make([][]int, len(steps))
	waiting := make([]int, len(steps))
	var free []int
	for i, list := range needs {
		for _, j := range list {
			dependents[j] = append(dependents[j], i)
		}
		if waiting[i] = len(list); waiting[i] == 0 {
			free = append(free, i)
		}
	}
	for len(free) > 0 {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		for _, d := range dependents[i] {
			if waiting[d]--; waiting[d] == 0 {
				free = append(free, d)
			}
		}
	}
	walk := make([]int, len(steps)) // the number of the walk that came by; 0 for none
	for start := range steps {
		i := start
		for waiting[i] > 0 && walk[i] == 0 {
			walk[i] = start + 1
			i = stuck(needs[i], waiting)
		}
		if waiting[i] > 0 && walk[i] == start+1 {
			p.reportCycle(steps, needs, waiting, i)
		}
	}
}

func stuck(list, waiting []int) int {
	for _, j := range list {
		if waiting[j] > 0 {
			return j
		}
	}
	return list[0] // not reached: a step that stays needs one that stays
}

// maxCycle is how many steps of a cycle are named.
const maxCycle = 40

// reportCycle reports the round through step from, beginning with the step of
// it that was declared first.
func (p *parser) reportCycle(steps []draft, needs [][]int, waiting []int, from int) {
	first := from
	for i := stuck(needs[from], waiting); i != from; i = stuck(needs[i], waiting) {
		first = min(first, i)
	}
	path := []string{steps[first].Name}
	length := 1
	for i := stuck(needs[first], waiting); i != first; i = stuck(needs[i], waiting) {
		if length++; length <= maxCycle {
			path = append(path, steps[i].Name)
		}
	}
	if length > maxCycle {
		path = append(path, fmt.Sprintf("(%d more)", length-maxCycle))
	}
	path = append(path, steps[first].Name)
	next := stuck(needs[first], waiting)
	pos := steps[first].at.pos
	for _, n := range steps[first].Needs {
		if n.Name == steps[next].Name {
			pos = n.Pos
		}
	}
	p.report(pos, "steps need each other in a cycle: "+strings.Join(path, " -> "), "remove one of these needs")
}
