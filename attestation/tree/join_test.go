// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// However many walks found the files, and whatever they found twice, together
// they have found each file once, in order, with its own Stat.
func TestJoin(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		parts := make([]tree.Found, 1+random.IntN(4))
		for i := range parts {
			// Room for what the others found is what a walk leaves.
			parts[i].Entries, parts[i].Stats = make([]tree.Entry, 0, 64), make([]tree.Stat, 0, 64)
		}
		want := map[string]bool{}
		folders := map[string]bool{}
		for n := range random.IntN(60) {
			p := fmt.Sprintf("%c/%d", 'a'+random.IntN(3), random.IntN(40))
			want[p] = true
			for range 1 + n%2 {
				part := &parts[random.IntN(len(parts))]
				if slices.ContainsFunc(part.Entries, func(e tree.Entry) bool { return e.Path == p }) {
					continue
				}
				part.Entries = append(part.Entries, tree.Entry{Path: p, Kind: tree.File})
				part.Folders = append(part.Folders, tree.Folder{Path: p[:1]})
				folders[p[:1]] = true
			}
		}
		for i := range parts {
			byName := func(a, b tree.Folder) int { return strings.Compare(a.Path, b.Path) }
			slices.SortFunc(parts[i].Folders, byName)
			parts[i].Folders = slices.Compact(parts[i].Folders)
			slices.SortFunc(parts[i].Entries, func(a, b tree.Entry) int { return strings.Compare(a.Path, b.Path) })
			for _, e := range parts[i].Entries {
				parts[i].Stats = append(parts[i].Stats, tree.Stat{Inode: inodeOf(e.Path)})
			}
		}
		all := tree.Join(parts...)
		var got []string
		for i, e := range all.Entries {
			got = append(got, e.Path)
			if all.Stats[i].Inode != inodeOf(e.Path) {
				t.Fatalf("round %d: %s has another's Stat", round, e.Path)
			}
		}
		if diff := cmp.Diff(sorted(want), got); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		var listed []string
		for _, f := range all.Folders {
			listed = append(listed, f.Path)
		}
		if diff := cmp.Diff(sorted(folders), listed); diff != "" {
			t.Fatalf("round %d: folders: %s", round, diff)
		}
	}
}

func inodeOf(p string) (n uint64) {
	for _, c := range []byte(p) {
		n = n*256 + uint64(c)
	}
	return n
}

func sorted(set map[string]bool) (names []string) {
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
