// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"bytes"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

func someSummaries() map[string]*keptSummary {
	of := func(s string) digest.Digest { return digest.Of([]byte(s)) }
	return map[string]*keptSummary{
		"": {print: of("empty"), used: 1},
		"attest.yaml\x00build\x00inputs": {
			Summary: Summary{
				Tree: of("tree"), Digests: []digest.Digest{of("a"), {}},
				Cover: []receipt.Path{
					{Path: "src/", Hash: of("src")},
					{Path: "a", Mode: "0755", Hash: of("a"), SHA256: digest.OfSHA256([]byte("a"))},
				},
				Folders: []tree.Folder{{Path: "src", Stat: tree.Stat{Dev: 1, Inode: 1 << 60, Size: 3, Mode: 0o40755, Mtime: -1, Ctime: 1}}},
			},
			print: of("view"), used: 20000,
		},
	}
}

func TestSummariesFile(t *testing.T) {
	data := encodeSummaries(someSummaries(), "/p")
	got, err := parseSummaries(bytes.Clone(data), "/p")
	if err != nil || !bytes.Equal(encodeSummaries(got, "/p"), data) {
		t.Fatalf("it comes back as something else; error %v", err)
	}
	if _, err := parseSummaries(bytes.Clone(data), "/q"); err == nil {
		t.Error("another project's were taken")
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := parseSummaries(bad, "/p"); err == nil {
			t.Fatalf("byte %d of %d may be changed", i, len(data))
		}
		if _, err := parseSummaries(bytes.Clone(data[:i]), "/p"); err == nil {
			t.Fatalf("it may be cut after %d bytes", i)
		}
	}
}

// Whoever can write the file can make its sum: what it says must still lead
// nowhere, and what is read is what would be written.
func FuzzParseSummaries(f *testing.F) {
	sealed := func(body []byte) []byte {
		sum := digest.Of(body).Bytes()
		return append(bytes.Clone(body), sum[:]...)
	}
	whole := encodeSummaries(someSummaries(), "/p")
	f.Add(whole[len(summaryMagic) : len(whole)-digest.Size])
	f.Add([]byte("\x02/p\x00"))
	f.Add([]byte("\x02/p\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := parseSummaries(sealed(append([]byte(summaryMagic), body...)), "/p")
		if err != nil {
			if all != nil {
				t.Fatal("summaries came back with an error")
			}
			return
		}
		again, err := parseSummaries(encodeSummaries(all, "/p"), "/p")
		if err != nil || !bytes.Equal(encodeSummaries(again, "/p"), encodeSummaries(all, "/p")) {
			t.Fatalf("what was read does not come back; error %v", err)
		}
	})
}
