// SPDX-License-Identifier: Apache-2.0

// Package graph draws a Plan: for people ([Text], [SVG]), for tools that draw
// ([DOT], [Mermaid]) and for programs ([JSON]).
//
// Every function returns the same bytes for the same Plan and Analysis, ending
// with a newline; names of steps are escaped for the format. All are safe for
// concurrent use.
package graph

import "github.com/attest-pipeline/attest/frontend/plan"

// Text returns the plan as lines for a terminal: the steps by level with what
// each needs, then the critical path and the bottlenecks.
func Text(p *plan.Plan, a plan.Analysis) []byte { return nil }

// DOT returns the plan as a Graphviz digraph, the critical path in bold.
func DOT(p *plan.Plan, a plan.Analysis) []byte { return nil }

// Mermaid returns the plan as a Mermaid flowchart.
func Mermaid(p *plan.Plan, a plan.Analysis) []byte { return nil }

// SVG returns the plan as a picture that needs nothing else: no script, no
// font, no style sheet.
func SVG(p *plan.Plan, a plan.Analysis) []byte { return nil }

// JSON returns the plan as the object that SPEC.md of frontend/pipeline
// documents under "pipeline show --format json".
func JSON(p *plan.Plan, a plan.Analysis) []byte { return nil }
