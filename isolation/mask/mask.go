// SPDX-License-Identifier: Apache-2.0

// Package mask keeps secrets out of text: wherever one stands, also in the forms
// that programs commonly turn it into, it puts [Replacement].
//
// Start with [New]; [Masker.Writer] is for streams, in which a secret may be
// split over any number of writes. forms.go says which forms are known. A program
// that wants to tell a secret can always find another one: this is against
// accidents. Values of one or two characters are masked as well, and take many a
// harmless character with them.
//
// A Masker never changes and may be used concurrently; a Writer may not.
package mask

import "errors"

// Replacement stands where a secret stood, or several that touch.
const Replacement = "***"

// MaxValue is how many bytes a secret can have to be looked for.
const MaxValue = 64 << 10

// ErrTooLong is for a secret of more than MaxValue bytes.
var ErrTooLong = errors.New("a secret has more than 64 KiB")

// Masker finds secrets. A nil Masker knows none, and all its methods work. It
// never changes, and is safe for concurrent use.
type Masker struct {
	nodes []node
	first [256]int32 // children of the root
	// second is where a node below the root leads, by its byte and the next
	// one: almost all of a text is read there. nil where there is no such node.
	second [256]*[256]int32
}

// node is a prefix of one or more forms. Its children are a list, which is short
// everywhere but at the root.
type node struct {
	child, sibling int32 // 0 for none: nothing has the root as a child
	fail           int32 // the longest proper suffix that is a prefix of a form
	depth          int32 // of this prefix: its length
	holds          int32 // length of the longest suffix of it that a form goes on from
	ends           int32 // length of the longest form that ends here; 0 for none
	b              byte
}

// New returns a Masker for the values; nil where none of them has a visible
// character. The error is ErrTooLong.
func New(values ...[]byte) (*Masker, error) {
	m := &Masker{nodes: make([]node, 1)}
	for _, v := range values {
		if len(v) > MaxValue {
			return nil, ErrTooLong
		}
		for form := range forms(v) {
			m.add(form)
		}
	}
	if len(m.nodes) == 1 {
		return nil, nil
	}
	m.link()
	return m, nil
}

// add makes the nodes of one form.
func (m *Masker) add(form string) {
	at := int32(0)
	for i := range len(form) {
		next := m.child(at, form[i])
		if next == 0 {
			next = int32(len(m.nodes))
			n := node{b: form[i], depth: m.nodes[at].depth + 1}
			if at == 0 {
				m.first[form[i]] = next
			} else {
				n.sibling = m.nodes[at].child
				m.nodes[at].child = next
			}
			m.nodes = append(m.nodes, n)
		}
		at = next
	}
	m.nodes[at].ends = m.nodes[at].depth
}

// child returns the node that b leads to from at, 0 for none.
func (m *Masker) child(at int32, b byte) int32 {
	if at == 0 {
		return m.first[b]
	}
	for c := m.nodes[at].child; c != 0; c = m.nodes[c].sibling {
		if m.nodes[c].b == b {
			return c
		}
	}
	return 0
}

// link finds every node's fail, the shorter prefixes first (Aho and Corasick).
func (m *Masker) link() {
	var queue []int32
	for b, c := range m.first {
		if c == 0 {
			continue
		}
		queue = append(queue, c)
		leads := m.first
		for next := m.nodes[c].child; next != 0; next = m.nodes[next].sibling {
			leads[m.nodes[next].b] = next
		}
		m.second[b] = &leads
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		m.nodes[at].holds = m.nodes[m.nodes[at].fail].holds
		if m.nodes[at].child != 0 {
			m.nodes[at].holds = m.nodes[at].depth
		}
		for c := m.nodes[at].child; c != 0; c = m.nodes[c].sibling {
			fail := m.step(m.nodes[at].fail, m.nodes[c].b)
			m.nodes[c].fail = fail
			m.nodes[c].ends = max(m.nodes[c].ends, m.nodes[fail].ends)
			queue = append(queue, c)
		}
	}
}

// step returns where b leads from at: to the longest prefix of a form that what
// was read ends with.
func (m *Masker) step(at int32, b byte) int32 {
	for {
		n := &m.nodes[at]
		switch n.depth {
		case 0:
			return m.first[b]
		case 1:
			return m.second[n.b][b]
		}
		if next := m.child(at, b); next != 0 {
			return next
		}
		at = n.fail
	}
}

// Found reports whether a secret stands in s.
func (m *Masker) Found(s string) bool {
	if m == nil {
		return false
	}
	at := int32(0)
	for i := range len(s) {
		if at = m.step(at, s[i]); m.nodes[at].ends > 0 {
			return true
		}
	}
	return false
}

// String returns s with every secret masked.
func (m *Masker) String(s string) string {
	if !m.Found(s) {
		return s
	}
	sc := scanner{m: m}
	sc.scan([]byte(s))
	return string(sc.rest())
}
