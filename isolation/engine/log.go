// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/mask"
)

// Bounds of what is held in memory of a step's output, whatever it prints.
const (
	maxPiece = 16 << 10 // a line longer than this is cut
	maxTail  = 16 << 10
	tailRows = 20
)

// stepLog takes what a step prints: every byte goes to the log file and into
// its digest, secrets masked, in pieces that end at line ends; the same pieces are events, so
// that the file is the events' data one after the other.
type stepLog struct {
	path string
	emit func(stream, data string)

	mu      sync.Mutex
	file    *os.File
	hash    *digest.Hash
	size    int64
	tail    []byte
	err     error // the first that writing the file met
	streams []*logStream
	mask    *mask.Masker // of the step's secrets
	masks   []*mask.Writer
}

// newStepLog makes the log file of a step. A step's name is fit to be a file's:
// package pipeline sees to that.
func (r *run) newStepLog(step *plan.Step, secrets *mask.Masker) (*stepLog, error) {
	dir, err := r.space.logs()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, step.Name+".log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making the log: %w", err)
	}
	return &stepLog{
		path: path, file: f, hash: digest.NewHash(digest.BLAKE3), mask: secrets,
		emit: func(stream, data string) {
			r.events.Record(event.StepLog{Step: step.Name, Stream: stream, Data: data})
		},
	}, nil
}

// stream returns the writer of one of the command's streams. Its Write never
// fails: a command is not stopped because its log cannot be kept; close tells.
func (l *stepLog) stream(name string) io.Writer {
	s := &logStream{emit: func(piece []byte) { l.add(name, piece) }}
	l.streams = append(l.streams, s)
	masked := l.mask.Writer(s)
	l.masks = append(l.masks, masked)
	return masked
}

// close writes what has no line end yet. It returns the first error of all
// writing; after it, lastLines and hash stay readable.
func (l *stepLog) close() error {
	for i, s := range l.streams {
		_ = l.masks[i].Flush() // its stream never fails
		s.flush()
	}
	if err := errors.Join(l.err, l.file.Close()); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

func (l *stepLog) add(stream string, piece []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		_, l.err = l.file.Write(piece)
	}
	_, _ = l.hash.Write(piece)
	l.size += int64(len(piece))
	l.tail = append(l.tail, piece[max(0, len(piece)-maxTail):]...)
	if over := len(l.tail) - maxTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	l.emit(stream, string(piece))
}

// lastLines returns the end of the log: at most 20 lines.
func (l *stepLog) lastLines() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := bytes.TrimRight(l.tail, "\n")
	start := len(end)
	for range tailRows {
		start = bytes.LastIndexByte(end[:start], '\n')
		if start < 0 {
			return bytes.Clone(end)
		}
	}
	return bytes.Clone(end[start+1:])
}

// logStream cuts one stream into pieces, none of them empty.
type logStream struct {
	emit    func(piece []byte)
	pending []byte // the beginning of a line; shorter than maxPiece
}

// Write takes p; a part of it without a line end waits for its rest.
func (s *logStream) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), maxPiece-len(s.pending))
		s.pending = append(s.pending, p[:take]...)
		p = p[take:]
		end := bytes.LastIndexByte(s.pending, '\n') + 1
		if end == 0 && len(s.pending) == maxPiece {
			end = wholeRunes(s.pending)
		}
		if end > 0 {
			s.emit(s.pending[:end])
		}
		s.pending = append(s.pending[:0], s.pending[end:]...)
	}
	return n, nil
}

func (s *logStream) flush() {
	if len(s.pending) > 0 {
		s.emit(s.pending)
	}
	s.pending = nil
}

// wholeRunes returns how much of b ends between two characters.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax; back++ {
		if i := len(b) - back; utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
