// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// How much of a machine's log is kept in memory, and of the logs of failed
// machines on the disk. No machine that works says nearly as much.
const (
	headSize = 8 << 20
	tailSize = 4 << 20 // twice that until it is cut
	logsKept = 8
)

// transcript keeps what is written to it: the beginning, and the end. Safe for
// concurrent use.
type transcript struct {
	mu         sync.Mutex
	head, tail []byte
	cut        int64 // bytes between the two that are lost
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := p
	if room := headSize - len(t.head); room > 0 {
		n := min(room, len(rest))
		t.head = append(t.head, rest[:n]...)
		rest = rest[n:]
	}
	t.tail = append(t.tail, rest...)
	if over := len(t.tail) - tailSize; over > tailSize {
		t.cut += int64(over)
		t.tail = append(t.tail[:0], t.tail[over:]...)
	}
	return len(p), nil
}

// WriteTo writes what was kept, harmless on a terminal.
func (t *transcript) WriteTo(w io.Writer) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text bytes.Buffer
	text.Write(bytes.Map(harmless, t.head))
	if t.cut > 0 {
		fmt.Fprintf(&text, "\n[%d bytes are left out here]\n", t.cut)
	}
	text.Write(bytes.Map(harmless, t.tail))
	return text.WriteTo(w)
}

// harmless leaves out what does something to a terminal.
func harmless(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\t' && r != '\n' {
		return -1
	}
	return r
}

// lines returns the last n lines that say something, harmless on a terminal; those
// of a kernel that gave up are the n from where it says so.
func (t *transcript) lines(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const enough = 64 << 10
	end := slices.Concat(t.head[max(0, len(t.head)-enough):], t.tail[max(0, len(t.tail)-enough):])
	var list []string
	for line := range bytes.Lines(end) {
		if line := strings.TrimSpace(string(bytes.Map(harmless, line))); line != "" {
			list = append(list, line)
		}
	}
	if i := slices.IndexFunc(list, func(line string) bool { return strings.Contains(line, "Kernel panic - ") }); i >= 0 {
		return list[i:min(i+n, len(list))]
	}
	return list[max(0, len(list)-n):]
}

// keepLog writes the whole log of a failed machine into a file of the folder, for
// this user alone, and removes old ones.
func keepLog(folder string, serial, said *transcript) (path string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("keeping the machine's log: %w", err)
	}
	const pattern = "machine-*.log"
	f, err := os.CreateTemp(folder, "machine-"+time.Now().UTC().Format("20060102T150405.000Z")+"-*.log")
	if err != nil {
		return "", fmt.Errorf("keeping the machine's log: %w", err)
	}
	for _, part := range []struct {
		title string
		text  *transcript
	}{{"what its kernel said", serial}, {"what qemu and virtiofsd said", said}} {
		_, titleErr := fmt.Fprintf(f, "# %s\n", part.title)
		_, textErr := part.text.WriteTo(f)
		_, endErr := fmt.Fprintln(f)
		err = errors.Join(err, titleErr, textErr, endErr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("keeping the machine's log: %w", errors.Join(err, os.Remove(f.Name())))
	}
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		return f.Name(), nil // what is old stays then
	}
	slices.Sort(names) // they begin with the time
	for _, old := range names[:max(0, len(names)-logsKept)] {
		_ = os.Remove(old)
	}
	return f.Name(), nil
}
