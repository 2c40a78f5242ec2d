// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// goal is a bound that the project has set itself, beside the figure.
type goal struct {
	work, bound string
	figure      string // empty where it could not be measured
	met         bool
}

// String is the goal's line.
func (g goal) String() string {
	verdict := "not met"
	switch {
	case g.figure == "":
		verdict = "not measured"
	case g.met:
		verdict = "met"
	}
	return fmt.Sprintf("  %-52s %-30s %14s  %s", g.work, g.bound, g.figure, verdict)
}

// atMost notes whether a times the other is at most most. A peer that is not
// there was measured no times.
func (b *bench) atMost(work string, a *series, most float64, other *series) {
	g := goal{work: work, bound: fmt.Sprintf("at most %.2fx %s", most, other.name)}
	if len(other.times) > 0 {
		r := ratio(a.median(), other.median())
		g.figure, g.met = fmt.Sprintf("%.2fx", r), r <= most
	}
	b.note(g)
}

// below notes whether a figure is below a bound.
func (b *bench) below(work string, figure, bound float64, unit string) {
	b.note(goal{
		work: work, bound: fmt.Sprintf("below %g %s", bound, unit),
		figure: fmt.Sprintf("%.3g %s", figure, unit), met: figure < bound,
	})
}

func (b *bench) note(g goal) {
	b.goals = append(b.goals, g)
	fmt.Println(g)
}

// summary prints all goals once more.
func (b *bench) summary() {
	if len(b.goals) == 0 {
		return
	}
	missed, open := 0, 0
	fmt.Println("\nGoals")
	for _, g := range b.goals {
		fmt.Println(g)
		switch {
		case g.figure == "":
			open++
		case !g.met:
			missed++
		}
	}
	fmt.Printf("%d goals: %d met, %d not met, %d not measured\n", len(b.goals), len(b.goals)-missed-open, missed, open)
}
