// SPDX-License-Identifier: Apache-2.0

package mask

import "io"

// Writer masks what is written to it on its way to another writer. It holds
// back what may be the beginning of a secret until the next bytes tell; Flush
// it at the end. Not safe for concurrent use.
type Writer struct {
	to   io.Writer
	scan scanner
}

// Writer returns a Writer to w.
func (m *Masker) Writer(w io.Writer) *Writer { return &Writer{w, scanner{m: m}} }

// Write writes as much of what was written so far as is certain. The count is of
// p, all of which is taken; an error is that of the other writer.
func (w *Writer) Write(p []byte) (int, error) {
	if w.scan.m == nil {
		return w.to.Write(p)
	}
	w.scan.scan(p)
	return len(p), w.put(w.scan.sure())
}

// Flush writes what was held back: nothing comes that could make a secret of it.
func (w *Writer) Flush() error {
	if w.scan.m == nil {
		return nil
	}
	return w.put(w.scan.rest())
}

func (w *Writer) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := w.to.Write(p)
	return err
}

// scanner masks a stream. A byte is masked when any form covers it.
type scanner struct {
	m       *Masker
	at      int32
	held    []byte // read, and not yet certain
	masks   []span // of held, in order, none touches the next
	masking bool   // what was given last is a Replacement
	out     []byte
}

// span is a part of the held bytes.
type span struct{ from, to int }

func (s *scanner) scan(p []byte) {
	read := len(s.held)
	s.held = append(s.held, p...)
	at := s.at
	for i, b := range p {
		at = s.m.step(at, b)
		if n := int(s.m.nodes[at].ends); n > 0 {
			end := read + i + 1
			s.cover(span{end - n, end})
		}
	}
	s.at = at
}

// cover adds a span that ends behind all others.
func (s *scanner) cover(new span) {
	for len(s.masks) > 0 && s.masks[len(s.masks)-1].to >= new.from {
		last := s.masks[len(s.masks)-1]
		new.from = min(new.from, last.from)
		s.masks = s.masks[:len(s.masks)-1]
	}
	s.masks = append(s.masks, new)
}

// sure returns what is certain: all but the longest end of what was read that a
// secret could begin with. It is valid until the next scan.
func (s *scanner) sure() []byte { return s.give(len(s.held) - int(s.m.nodes[s.at].holds)) }

// rest returns everything.
func (s *scanner) rest() []byte { return s.give(len(s.held)) }

// give moves n held bytes out.
func (s *scanner) give(n int) []byte {
	done := 0
	for len(s.masks) > 0 && s.masks[0].from < n {
		m := s.masks[0]
		if m.from > done {
			s.out, s.masking = append(s.out, s.held[done:m.from]...), false
		}
		if !s.masking {
			s.out, s.masking = append(s.out, Replacement...), true
		}
		done = min(m.to, n)
		if m.to > n {
			s.masks[0].from = n
			break
		}
		s.masks = s.masks[1:]
	}
	if n > done {
		s.out, s.masking = append(s.out, s.held[done:n]...), false
	}
	s.held = append(s.held[:0], s.held[n:]...)
	for i := range s.masks {
		s.masks[i] = span{s.masks[i].from - n, s.masks[i].to - n}
	}
	out := s.out
	s.out = s.out[:0]
	return out
}
