// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/frontend/plan"
)

// Text returns the plan as lines for a terminal: the steps by level with what
// each needs, then the critical path and the bottlenecks.
func Text(p *plan.Plan, a plan.Analysis) []byte {
	var b bytes.Buffer
	b.WriteString(p.Pipeline.Name + "\n")
	if d := strings.TrimSpace(p.Pipeline.Description); d != "" {
		for line := range strings.Lines(d) {
			b.WriteString("  " + printable(strings.TrimRight(line, "\n")) + "\n")
		}
	}
	name, how := 0, 0
	for _, s := range p.Steps {
		name, how = max(name, len(s.Name)), max(how, min(utf8.RuneCountInString(level(s)), maxHow))
	}
	for d, steps := range a.Levels {
		fmt.Fprintf(&b, "\nlevel %d\n", d+1)
		for _, i := range steps {
			s := p.Steps[i]
			line := fmt.Sprintf("  %-*s  %-*s", name, s.Name, how, printable(level(s)))
			if len(s.Needs) > 0 {
				line += "  needs " + strings.Join(names(p, s.Needs), ", ")
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	fmt.Fprintf(&b, "\n%s, depth %d, at most %d in parallel\n", count(len(p.Steps), "step"), a.Depth, a.Width)
	if len(a.CriticalPath) > 0 {
		fmt.Fprintf(&b, "critical path: %s%s\n", strings.Join(names(p, a.CriticalPath), " -> "), length(a))
	}
	if len(a.Bottlenecks) > 0 {
		b.WriteString("bottlenecks:\n")
		for _, n := range a.Bottlenecks {
			fmt.Fprintf(&b, "  %-*s  holds back %s\n", name, p.Steps[n.Step].Name, count(n.Blocks, "step"))
		}
	}
	return b.Bytes()
}

// maxHow is the width up to which the second column is aligned.
const maxHow = 40

func length(a plan.Analysis) string {
	switch {
	case a.CriticalTime == 0:
		return ""
	case a.Measured:
		return fmt.Sprintf(" (%s)", a.CriticalTime.Round(time.Millisecond))
	default:
		return fmt.Sprintf(" (about %s)", a.CriticalTime.Round(time.Millisecond))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printable keeps what a user wrote from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, s)
}
