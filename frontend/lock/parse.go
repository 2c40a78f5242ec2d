// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/source"
)

// MaxSize is the size in bytes of the largest attest.lock that is read.
const MaxSize = 16 << 20

// Load reads the lock at path; display is the name that errors give it. One
// that is not there is nil and no error. Errors about the content are those of
// [Parse].
func Load(path, display string) (*Lock, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", display, err)
	}
	if !info.Mode().IsRegular() { // to open a FIFO would wait
		return nil, &source.Error{Pos: source.Pos{File: display}, Msg: "this is no file", Err: ErrInvalid}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", display, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", display, err)
	}
	return Parse(&source.File{Name: display, Data: data})
}

// Parse reads a lock. It accepts what [Lock.Encode] writes and nothing else;
// every error is a [source.Error] that matches [ErrInvalid].
func Parse(f *source.File) (*Lock, error) {
	p := parser{f}
	if len(f.Data) > MaxSize {
		return nil, p.fail(0, fmt.Sprintf("it is larger than %d bytes", MaxSize))
	}
	if err := p.version(); err != nil {
		return nil, err
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(f.Data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, p.syntax(err, dec.InputOffset())
	}
	l, err := p.lock(doc)
	if err != nil {
		return nil, err
	}
	again, err := l.Encode()
	if err != nil {
		return nil, p.fail(0, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
	}
	if i := firstDifference(again, f.Data); i >= 0 {
		return nil, p.fail(i, "this is not how attest writes it")
	}
	return l, nil
}

type parser struct{ file *source.File }

// version looks for the first line but one, which every version has.
func (p parser) version() error {
	const start = "{\n  \"schema\": \"attest.lock/v"
	rest, ok := bytes.CutPrefix(p.file.Data, []byte(start))
	if !ok {
		return p.fail(max(0, firstDifference([]byte(start), p.file.Data)), "this is not the beginning of an attest.lock")
	}
	version, _, _ := strings.Cut(string(rest[:min(len(rest), 10)]), `"`)
	if "attest.lock/v"+version != Schema {
		e := p.fail(len(start), fmt.Sprintf("version %q of the format is not known to this attest", version))
		e.Hints = []string{"it was written by another version of attest: use that, or a newer one"}
		return e
	}
	return nil
}

// lock checks every value, at its place.
func (p parser) lock(doc document) (*Lock, error) {
	l := &Lock{Images: map[string]digest.Digest{}, Steps: map[string]map[string]digest.Digest{}}
	parse := func(text string) digest.Digest {
		d, err := digest.Parse(text)
		if err != nil || d.Algorithm() != digest.SHA256 {
			return digest.Digest{}
		}
		return d
	}
	var errs []*source.Error
	check := func(name, text string, err error) {
		if err != nil {
			errs = append(errs, p.fail(max(0, bytes.Index(p.file.Data, quote(name, text))), err.Error()))
		}
	}
	for name, text := range doc.Images {
		l.Images[name] = parse(text)
		check(name, text, checkImage(name, l.Images[name]))
	}
	for step, fetches := range doc.Steps {
		l.Steps[step] = map[string]digest.Digest{}
		for u, text := range fetches {
			l.Steps[step][u] = parse(text)
			check(u, text, checkFetch(u, l.Steps[step][u]))
		}
	}
	return l, source.Join(errs)
}

// quote is how a line begins that says text of name.
func quote(name, text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(name) // strings are always written
	line := append(bytes.TrimSuffix(b.Bytes(), []byte("\n")), `: "`...)
	return append(line, text...)
}

// syntax is the error of text that encoding/json does not take.
func (p parser) syntax(err error, at int64) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset - 1
	case errors.As(err, &kind):
		at = kind.Offset - 1
		err = fmt.Errorf("%s cannot be a %s", kind.Field, kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		at, err = int64(len(p.file.Data)), errors.New("the end of the file is missing")
	}
	return p.fail(int(at), strings.TrimPrefix(err.Error(), "json: "))
}

// fail is a complaint about the byte at offset at.
func (p parser) fail(at int, msg string) *source.Error {
	before := p.file.Data[:max(0, min(at, len(p.file.Data)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return &source.Error{
		Pos:     source.Pos{File: p.file.Name, Line: line, Column: column},
		Snippet: p.file.Line(line), Msg: msg, Err: ErrInvalid,
		Hints: []string{"attest pipeline lock writes it anew; do not edit it"},
	}
}

// firstDifference returns where a and b begin to differ, -1 where they do not.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return min(len(a), len(b))
}
