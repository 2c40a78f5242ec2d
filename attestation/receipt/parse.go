// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// What is wrong with bytes that are no receipt of this version. The first two
// match for [Marshal] too, as far as they can.
var (
	// ErrInvalid is matched by every error of this package about a document.
	ErrInvalid = errors.New("invalid receipt")
	// ErrNotCanonical means that the document has a spelling other than the
	// one that [Marshal] gives it: it was edited or rewritten. Matches
	// [ErrInvalid] as well.
	ErrNotCanonical = fmt.Errorf("%w: not in its canonical form", ErrInvalid)
	// ErrNewer means that the document has a schema that this program does not
	// know. Matches [ErrInvalid] as well.
	ErrNewer = fmt.Errorf("%w: receipt from a newer version: upgrade attest", ErrInvalid)
)

// MaxSize is the length in bytes of the largest receipt that [Parse] reads.
const MaxSize = 64 << 20

const schemaFamily = "attest.receipt/v"

// Parse reads what [Marshal] wrote and nothing else: Marshal of what it returns
// is data, byte for byte. Errors match [ErrInvalid], and [ErrNewer] or
// [ErrNotCanonical] where they apply; they name the line. Parse does not
// verify anything.
//
// It reads the subset of YAML that FORMAT.md defines, with a reader of its own:
// that needs no more memory than a few times the size of data, whatever data
// holds, and has no anchors, tags, merge keys or types to guess.
func Parse(data []byte) (*Receipt, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrInvalid, MaxSize)
	}
	if err := checkSchema(data); err != nil {
		return nil, err
	}
	var d document
	p := parser{rest: string(data), layouts: layouts{}}
	p.block(reflect.ValueOf(&d).Elem(), "", "")
	if p.err == nil && p.rest != "" {
		p.fail("%s", p.unexpected())
	}
	if p.err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrInvalid, p.line+1, p.err)
	}
	r, err := d.receipt()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	again, err := Marshal(r)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w (line %d)", ErrNotCanonical, firstDifference(again, data))
	}
	return r, nil
}

// checkSchema looks at the first line, which every version has.
func checkSchema(data []byte) error {
	line, _, _ := bytes.Cut(data[:min(len(data), 100)], []byte("\n"))
	version, ok := strings.CutPrefix(string(line), "schema: "+schemaFamily)
	switch {
	case string(line) == "schema: "+Schema:
		return nil
	case ok && isVersion(version):
		return fmt.Errorf("%w (schema %s%s)", ErrNewer, schemaFamily, version)
	default:
		return fmt.Errorf("%w: line 1: want schema: %s", ErrInvalid, Schema)
	}
}

func isVersion(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 1 && s == strconv.Itoa(n)
}

func firstDifference(a, b []byte) int {
	line := 1
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			line++
		}
	}
	return line
}
