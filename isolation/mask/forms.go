// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net/url"
	"strings"
)

// minDerived is the length from which on a value's lines and its encoded forms
// are looked for: shorter ones stand in any text by chance.
const minDerived = 4

// forms yields what is looked for on behalf of one value: itself, without the
// blanks around it; each of its lines; and for all of these what base64, hex,
// URLs, JSON and quoting shells make of them.
func forms(value []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		whole := bytes.TrimSpace(value)
		if len(whole) == 0 {
			return
		}
		if !yield(string(whole)) || len(whole) < minDerived {
			return
		}
		parts := [][]byte{whole}
		if lines := bytes.Split(whole, []byte("\n")); len(lines) > 1 {
			for _, line := range lines {
				if line = bytes.TrimSpace(line); len(line) >= minDerived {
					parts = append(parts, line)
				}
			}
		}
		for _, part := range parts {
			for _, form := range derived(part) {
				if len(form) >= minDerived && !yield(form) {
					return
				}
			}
		}
	}
}

// derived returns the forms of a part, itself among them.
func derived(part []byte) []string {
	text := string(part)
	all := []string{
		text,
		hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		url.QueryEscape(text), url.PathEscape(text), lowerEscapes(url.QueryEscape(text)), lowerEscapes(url.PathEscape(text)),
		strings.ReplaceAll(text, "'", `'\''`),
	}
	for _, html := range []bool{false, true} {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(text) == nil {
			all = append(all, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, encoded(encoding, part)...)
	}
	return all
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// encoded returns what base64 makes of a part, alone or in the midst of other
// bytes: six bits make a character, so that it matters how many bytes stand
// before, and the characters at both ends may hold bits of others. It may also be
// cut into lines, as the common tools do.
func encoded(encoding *base64.Encoding, part []byte) []string {
	all := []string{encoding.EncodeToString(part)}
	for before := range 3 {
		text := encoding.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, before), part...))
		from, to := (before*8+5)/6, (before+len(part))*8/6
		if from < to {
			all = append(all, text[from:to])
		}
	}
	for _, width := range []int{76, 64} { // of base64(1) and MIME, and of PEM
		text := encoding.EncodeToString(part)
		for ; len(text) > width; text = text[width:] {
			all = append(all, text[:width])
		}
		if len(all[0]) > width {
			all = append(all, text)
		}
	}
	return all
}
