// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"net/url"
	"strings"
)

// Record masks what records have: secrets, and values that are none and that
// nobody meant to publish. Two that were made from the same values spell the same
// text in the same way, wherever they are. The zero value masks nothing.
type Record struct {
	Secrets *Masker // nil for none
	// Passed are values from the caller's environment, longest first, so that
	// masking one does not spoil another that holds it.
	Passed []string
}

// minPassed is the length from which on a passed value is masked: shorter ones
// stand in any text by chance, and hide nothing that could not be guessed.
const minPassed = 4

// String returns the text with [Replacement] for secrets and passed values.
func (r Record) String(text string) string {
	text = r.Secrets.String(text)
	for _, v := range r.Passed {
		if len(v) < minPassed {
			continue
		}
		for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v)} {
			text = strings.ReplaceAll(text, form, Replacement)
		}
	}
	return text
}

// Name is String for a name, of which it makes text: bytes that are none become
// U+FFFD.
func (r Record) Name(name string) string { return strings.ToValidUTF8(r.String(name), "\uFFFD") }
