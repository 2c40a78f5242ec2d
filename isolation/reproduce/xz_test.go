// SPDX-License-Identifier: Apache-2.0

package reproduce_test

import (
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/reproduce"
)

// TestLargestDict: what a file's blocks want of memory is known before it is
// given to them, whichever block it is.
func TestLargestDict(t *testing.T) {
	const header = 12
	text := xzOf(t, strings.Repeat("what xz packs\n", 400))
	if got, err := reproduce.LargestDict(text); err != nil || got != 1<<20 {
		t.Fatalf("%d, %v", got, err)
	}
	// The sizes of the dictionaries, behind the filter's number and 1.
	const filter = "\x21\x01"
	if strings.Count(text, filter) < 4 {
		t.Fatal("there are not several blocks")
	}
	last := []byte(text)
	last[strings.LastIndex(text, filter)+2] = 40
	if got, err := reproduce.LargestDict(string(last)); err != nil || got != 1<<32 {
		t.Errorf("a large one at the end: %d, %v", got, err)
	}
	last[header+1] |= 1 // a second filter
	for name, text := range map[string]string{
		"two filters": string(last), "nothing": "", "a beginning": text[:header], "no end": text[:len(text)-1], "no beginning": text[4:],
		"two streams": text + text, "an end alone": text[len(text)-header:],
	} {
		if got, err := reproduce.LargestDict(text); err == nil {
			t.Errorf("%s: %d", name, got)
		}
	}
	for i := range len(text) { // no byte makes it panic
		for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			bad := []byte(text)
			bad[i] = b
			_, _ = reproduce.LargestDict(string(bad))
		}
	}
}
