// SPDX-License-Identifier: Apache-2.0

// Package graph draws a Plan: for people ([Text], [SVG]), for tools that draw
// ([DOT], [Mermaid]) and for programs ([JSON]).
//
// Every function returns the same bytes for the same Plan and Analysis, ending
// with a newline; names are escaped for the format. All are safe for
// concurrent use.
package graph

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/attest-pipeline/attest/frontend/plan"
)

// edge is one step's need of another, both by place in the plan.
type edge struct{ from, to int }

// marks are the steps and edges of the critical path.
type marks struct {
	steps map[int]bool
	edges map[edge]bool
}

func critical(a plan.Analysis) marks {
	m := marks{make(map[int]bool, len(a.CriticalPath)), make(map[edge]bool, len(a.CriticalPath))}
	for k, i := range a.CriticalPath {
		m.steps[i] = true
		if k > 0 {
			m.edges[edge{a.CriticalPath[k-1], i}] = true
		}
	}
	return m
}

// DOT returns the plan as a Graphviz digraph, the critical path in bold.
func DOT(p *plan.Plan, a plan.Analysis) []byte {
	var b bytes.Buffer
	m := critical(a)
	fmt.Fprintf(&b, "digraph %s {\n\trankdir=LR;\n\tnode [shape=box, style=rounded, fontname=\"sans-serif\"];\n", dotQuote(p.Pipeline.Name))
	for i, s := range p.Steps {
		bold := ""
		if m.steps[i] {
			bold = ", penwidth=2"
		}
		fmt.Fprintf(&b, "\t%s [tooltip=%s%s];\n", dotQuote(s.Name), dotQuote(level(s)), bold)
	}
	for i, s := range p.Steps {
		for _, j := range s.Needs {
			bold := ""
			if m.edges[edge{j, i}] {
				bold = " [penwidth=2]"
			}
			fmt.Fprintf(&b, "\t%s -> %s%s;\n", dotQuote(p.Steps[j].Name), dotQuote(s.Name), bold)
		}
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// dotQuote writes a quoted ID of the DOT language; in one that is also a
// label, a backslash would begin an escape.
func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Mermaid returns the plan as a Mermaid flowchart, the critical path thick.
func Mermaid(p *plan.Plan, a plan.Analysis) []byte {
	var b bytes.Buffer
	m := critical(a)
	b.WriteString("flowchart LR\n")
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "    s%d[\"%s\"]\n", i, mermaidEscape(s.Name))
	}
	for i, s := range p.Steps {
		for _, j := range s.Needs {
			arrow := "-->"
			if m.edges[edge{j, i}] {
				arrow = "==>"
			}
			fmt.Fprintf(&b, "    s%d %s s%d\n", j, arrow, i)
		}
	}
	if len(a.CriticalPath) > 0 {
		b.WriteString("    classDef critical stroke-width:3px\n")
		for _, i := range a.CriticalPath {
			fmt.Fprintf(&b, "    class s%d critical\n", i)
		}
	}
	return b.Bytes()
}

// mermaidEscape writes what could end a quoted label, or begin Markdown, HTML
// or an entity in it, as entities.
func mermaidEscape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\"#&;<>`*\\", r) || r < ' ' {
			fmt.Fprintf(&b, "#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// level says how and in what a step runs.
func level(s plan.Step) string {
	text := string(s.Isolation)
	if s.Image != "" {
		text += " " + s.Image
	}
	return text
}

func names(p *plan.Plan, places []int) []string {
	list := make([]string, len(places))
	for k, i := range places {
		list[k] = p.Steps[i].Name
	}
	return list
}
