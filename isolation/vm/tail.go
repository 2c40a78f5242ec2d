// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
)

// tailSize is how much of a log is kept.
const tailSize = 64 << 10

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func newTail() *tail { return &tail{} }

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*tailSize {
		t.text = append(t.text[:0], t.text[len(t.text)-tailSize:]...)
	}
	return len(p), nil
}

// all returns what was kept.
func (t *tail) all() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.text)
}

// lines returns the last n lines that say something, harmless on a terminal.
func (t *tail) lines(n int) []string {
	var list []string
	for line := range strings.Lines(string(t.all())) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\t' {
				return -1
			}
			return r
		}, line))
		if line != "" {
			list = append(list, line)
		}
	}
	return list[max(0, len(list)-n):]
}
