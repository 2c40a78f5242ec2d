// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
)

// parser reads a record from its beginning. After the first thing that is not
// as expected, err is set and all that it returns is zero.
type parser struct {
	rest []byte
	err  error
}

// endLength is that of the last line: "end ", 64 digits, line end.
const endLength = 4 + 2*digest.Size + 1

// openParser returns a parser of what stands before the last line, which is the
// digest of it. Errors match cas.ErrDamaged.
func openParser(data []byte) (*parser, error) {
	body := data[:max(0, len(data)-endLength)]
	if end := fmt.Appendf(nil, "end %s\n", digest.Of(body).Hex()); !bytes.Equal(data[len(body):], end) {
		return nil, fmt.Errorf("%w: it does not end with its own digest", cas.ErrDamaged)
	}
	return &parser{rest: body}, nil
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = errors.New(what)
	}
	p.rest = nil
}

func (p *parser) literal(text string) {
	if !bytes.HasPrefix(p.rest, []byte(text)) {
		p.fail(fmt.Sprintf("no %q", text))
		return
	}
	p.rest = p.rest[len(text):]
}

// until returns the word before the next end, a single character, and skips both.
func (p *parser) until(end byte) string {
	i := bytes.IndexByte(p.rest, end)
	if i < 0 {
		p.fail("it ends too early")
		return ""
	}
	word := string(p.rest[:i])
	p.rest = p.rest[i+1:]
	return word
}

// int reads a number in its one spelling.
func (p *parser) int(end byte) int64 {
	word := p.until(end)
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != word {
		p.fail(fmt.Sprintf("%q is no number", word))
		return 0
	}
	return n
}

func (p *parser) size(end byte) int64 {
	n := p.int(end)
	if n < 0 {
		p.fail("a length below zero")
		return 0
	}
	return n
}

func (p *parser) perm(end byte) uint32 {
	word := p.until(end)
	n, err := strconv.ParseUint(word, 8, 32)
	if err != nil || len(word) != 4 || n > 0o777 {
		p.fail(fmt.Sprintf("%q are no permissions", word))
		return 0
	}
	return uint32(n)
}

// digest reads 64 digits, or - for none.
func (p *parser) digest(a digest.Algorithm, end byte) digest.Digest {
	word := p.until(end)
	if word == "-" || p.err != nil {
		return digest.Digest{}
	}
	d, err := digest.ParseHex(a, word)
	if err != nil {
		p.fail(err.Error())
	}
	return d
}

// text reads what appendText wrote.
func (p *parser) text(end byte) string {
	n := p.size(':')
	if p.err != nil || n >= int64(len(p.rest)) || p.rest[n] != end {
		p.fail("a text of the wrong length")
		return ""
	}
	s := string(p.rest[:n])
	p.rest = p.rest[n+1:]
	return s
}
