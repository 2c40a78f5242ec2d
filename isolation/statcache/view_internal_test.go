// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"fmt"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// A change of any one file changes the fingerprint, whether all files fit into one
// piece or not, and so does one file more or less.
func TestViewSeesEveryFile(t *testing.T) {
	print := func(n, changed int) digest.Digest {
		t.Helper()
		var found tree.Found
		for i := range n {
			stat := tree.Stat{Dev: 1, Inode: uint64(i), Size: 1, Mode: 0o100644, Mtime: 1, Ctime: 1}
			if i == changed {
				stat.Ctime++
			}
			found.Entries = append(found.Entries, tree.Entry{Path: fmt.Sprintf("folder/%06d", i), Kind: tree.File, Perm: 0o644, Size: 1})
			found.Stats = append(found.Stats, stat)
		}
		v, err := (&Cache{}).View("step", found)
		if err != nil || v.print.IsZero() {
			t.Fatalf("no fingerprint: %v", err)
		}
		return v.print
	}
	for _, n := range []int{1, 100, 1000, 3000} {
		same := print(n, -1)
		if again := print(n, -1); again != same {
			t.Errorf("%d files: two fingerprints of what looks the same", n)
		}
		if print(n+1, -1) == same {
			t.Errorf("%d files: one more is not seen", n)
		}
		for i := 0; i < n; i += max(1, n/50) {
			if print(n, i) == same {
				t.Errorf("%d files: a change of number %d is not seen", n, i)
			}
		}
		if print(n, n-1) == same {
			t.Errorf("%d files: a change of the last is not seen", n)
		}
	}
}
