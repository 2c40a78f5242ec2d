// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// sealed is content with its sum behind it, as the files have it.
func sealed(content []byte) []byte {
	sum := digest.Of(content).Bytes()
	return append(bytes.Clone(content), sum[:]...)
}

// tableOf is what a run writes that has these files' digests.
func tableOf(records ...record) table {
	var b builder
	for _, r := range records {
		b.add(r)
	}
	return table{b.records, b.paths.String()}
}

func someTable() table {
	blake := func(s string) [digest.Size]byte { return digest.Of([]byte(s)).Bytes() }
	return tableOf(
		record{path: "a", stat: tree.Stat{Dev: 1, Inode: 2, Size: 3, Mode: 0o100644, Mtime: 4, Ctime: 5}, blake: blake("a"), used: 20000},
		record{path: "a/b\xff\n", stat: tree.Stat{Dev: 1 << 63, Inode: 1, Size: -1, Mode: 1 << 31, Mtime: -1, Ctime: -1 << 63}, blake: blake("b"), used: 1},
		record{path: "c d/e", blake: blake("")},
	)
}

func encoded(t testing.TB, of table, project string) []byte {
	t.Helper()
	data, err := of.encode(project)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file of another version says something else with the same bytes.
func TestOtherVersionsAreNotRead(t *testing.T) {
	whole := encoded(t, someTable(), "/p")
	content := string(whole[:len(whole)-digest.Size])
	if _, err := parse(sealed([]byte(content)), "/p"); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1", "v3"} {
		other := strings.Replace(content, "/v2\n", "/"+version+"\n", 1)
		if got, err := parse(sealed([]byte(other)), "/p"); !errors.Is(err, errDamaged) || got.len() > 0 {
			t.Errorf("%s: %d records, %v", version, got.len(), err)
		}
	}
}

// TestFind asks for paths that are there and paths that are not, from everywhere: the
// places are those that a plain search gives.
func TestFind(t *testing.T) {
	var there []record
	var asked []string
	for i := range 40 {
		name := fmt.Sprintf("d%d/%02d", i%3, i)
		if asked = append(asked, name, name+"a", name[:2]); i%4 > 0 {
			there = append(there, record{path: name})
		}
	}
	for n := range len(there) + 1 {
		some := slices.SortedFunc(slices.Values(there[:n]), func(a, b record) int { return strings.Compare(a.path, b.path) })
		table := tableOf(some...)
		for _, p := range asked {
			want, is := slices.BinarySearchFunc(some, p, func(r record, p string) int { return strings.Compare(r.path, p) })
			for from := range n + 2 {
				if got, ok := table.find(p, from); got != want || ok != is {
					t.Fatalf("%q of %d, from %d on: %d, %v; want %d, %v", p, n, from, got, ok, want, is)
				}
			}
		}
	}
}

// Whoever can write the file can make its sum: what it says must still lead
// nowhere, and what is read is what would be written.
func FuzzParseTable(f *testing.F) {
	for _, t := range []table{{}, someTable()} {
		whole := encoded(f, t, "/p")
		f.Add(whole[len(magic) : len(whole)-digest.Size])
	}
	crossed := someTable() // two records whose paths end where others began
	binary.LittleEndian.PutUint32(crossed.at(0)[48:], 9)
	crossing := encoded(f, crossed, "/p")
	f.Add(crossing[len(magic) : len(crossing)-digest.Size])
	f.Add([]byte("\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff/p"))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00/pa"))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := sealed(append([]byte(magic), body...))
		got, err := parse(bytes.Clone(data), "/p")
		if err != nil {
			if got.len() > 0 || got.paths != "" {
				t.Fatal("a table came back with an error")
			}
			return
		}
		if len(got.records)+len(got.paths) > len(body) {
			t.Fatalf("%d bytes became a table of %d", len(body), len(got.records)+len(got.paths))
		}
		var records []record
		for i := range got.len() {
			records = append(records, got.record(i))
		}
		if again := encoded(t, tableOf(records...), "/p"); !bytes.Equal(again, data) {
			t.Fatalf("what was read does not come back:\n%q\n%q", again, data)
		}
		for k, r := range records { // what is found is what was asked for, in whatever order they stand
			for _, from := range []int{0, k / 2, k, k + 1, len(records) + 1} {
				if i, ok := got.find(r.path, from); ok && got.path(i) != r.path {
					t.Fatalf("%q from %d on: found %q", r.path, from, got.path(i))
				}
			}
		}
	})
}
