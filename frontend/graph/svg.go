// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"encoding/xml"
	"fmt"

	"github.com/attest-pipeline/attest/frontend/plan"
)

// Sizes in pixels. A letter's width is that of a monospaced font of 14 pixels,
// rounded up: no font is measured.
const (
	letter    = 9
	boxHeight = 32
	gapX      = 64
	gapY      = 16
	margin    = 16
)

// box is where a step is drawn.
type box struct{ x, y, width int }

// layout puts every level into a column, its steps below one another in their
// order, and returns the size of the picture.
func layout(p *plan.Plan, a plan.Analysis) (boxes []box, width, height int) {
	boxes = make([]box, len(p.Steps))
	tallest := a.Width*(boxHeight+gapY) - gapY
	x := margin
	for _, steps := range a.Levels {
		wide := 0
		for _, i := range steps {
			wide = max(wide, len(p.Steps[i].Name)*letter+2*margin)
		}
		y := margin + (tallest-len(steps)*(boxHeight+gapY)+gapY)/2
		for _, i := range steps {
			boxes[i] = box{x, y, wide}
			y += boxHeight + gapY
		}
		x += wide + gapX
	}
	return boxes, max(x-gapX, margin) + margin, max(tallest, 0) + 2*margin
}

// SVG returns the plan as a picture that needs nothing else: no script, no
// font, no style sheet. Levels stand from left to right, the critical path is
// drawn in a stronger colour.
func SVG(p *plan.Plan, a plan.Analysis) []byte {
	var b bytes.Buffer
	boxes, width, height := layout(p, a)
	m := critical(a)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="monospace" font-size="14">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", xmlEscape(p.Pipeline.Name))
	for i, s := range p.Steps {
		for _, j := range s.Needs {
			from, to := boxes[j], boxes[i]
			x1, y1, x2, y2 := from.x+from.width, from.y+boxHeight/2, to.x, to.y+boxHeight/2
			fmt.Fprintf(&b, `<path d="M%d %d C%d %d %d %d %d %d" fill="none" %s/>`+"\n",
				x1, y1, x1+gapX/2, y1, x2-gapX/2, y2, x2, y2, stroke(m.edges[edge{j, i}]))
		}
	}
	for i, s := range p.Steps {
		c := boxes[i]
		fmt.Fprintf(&b, `<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="#f6f8fa" %s/>`,
			xmlEscape(level(s)), c.x, c.y, c.width, boxHeight, stroke(m.steps[i]))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#1f2328">%s</text></g>`+"\n",
			c.x+c.width/2, c.y+boxHeight/2+5, xmlEscape(s.Name))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func stroke(isCritical bool) string {
	if isCritical {
		return `stroke="#bc4c00" stroke-width="2"`
	}
	return `stroke="#8c959f" stroke-width="1"`
}

func xmlEscape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}
