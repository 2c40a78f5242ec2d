// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestWindows hashes content of several windows, in windows that are smaller than
// usual.
func TestWindows(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 5<<20+1)
	_, _ = random.Read(content)
	for _, size := range []int64{segmentSize + 1, 1 << 20, 1<<20 + 1, 3<<20 - 1, 4 << 20, 5<<20 + 1} {
		b := content[:size]
		want, _, err := Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for window := int64(segmentSize); window <= 8<<20; window *= 2 {
			got, err := largeIn(t.Context(), size, window, func() source {
				return func(at int64, n int) ([]byte, error) { return b[at:][:n], nil }
			})
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%d bytes in windows of %d: %v, want %v", size, window, got, want)
			}
		}
	}
}

// TestStripes cuts rows of segments: all are taken once.
func TestStripes(t *testing.T) {
	for count := 1; count < 40; count++ {
		for most := 1; most < 20; most++ {
			taken := make([]int, count)
			stripes := cut(count, most)
			for i := range stripes {
				for n, ok := stripes[i].take(); ok; n, ok = stripes[i].take() {
					taken[n]++
				}
			}
			for n, times := range taken {
				if times != 1 {
					t.Fatalf("%d segments in at most %d stripes: segment %d is taken %d times", count, most, n, times)
				}
			}
		}
	}
}
