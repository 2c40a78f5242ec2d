// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Entry is a Result as the cache has it. It must not be changed.
type Entry struct {
	Key digest.Digest
	// Outputs have digests of both algorithms where the Result had them, exact
	// permission bits and targets.
	Outputs tree.Tree
	// Folders are those that Outputs stand in, with their permission bits;
	// ordered by path, no digests. Empty folders are among Outputs instead.
	Folders []tree.Entry
	// Log names the step's log; zero where it printed nothing.
	Log cas.Blob
	// Facts are the caller's own.
	Facts []byte
	// Stored is when the Result was stored.
	Stored time.Time
}

// InPlace reports whether the project has the outputs already, so that there is
// nothing to restore. there is all that stands in the project where the step's
// outputs belong, with digests and targets filled in, in any order; owned says
// which folders are outputs themselves, so that their permissions matter, and
// nil means all of them. Permissions are compared exactly.
func (e *Entry) InPlace(project *os.Root, there []tree.Entry, owned func(folder string) bool) bool {
	if len(there) != e.Outputs.Len() {
		return false
	}
	byPath := func(a, b tree.Entry) int { return strings.Compare(a.Path, b.Path) }
	if !slices.IsSortedFunc(there, byPath) {
		there = slices.SortedFunc(slices.Values(there), byPath)
	}
	for i, want := range e.Outputs.Entries() {
		got := there[i]
		if got.Path != want.Path || got.Kind != want.Kind || got.Perm != want.Perm ||
			got.Size != want.Size || got.Digest != want.Digest || got.Target != want.Target {
			return false
		}
	}
	for _, f := range e.Folders {
		if owned != nil && !owned(f.Path) {
			continue
		}
		info, err := project.Lstat(f.Path)
		if err != nil || !info.IsDir() || uint32(info.Mode().Perm()) != f.Perm {
			return false
		}
	}
	return true
}

// blobs returns the content that the entry needs, each once: its log too, but
// nothing that is empty.
func (e *Entry) blobs() []cas.Blob {
	seen := make(map[digest.Digest]bool, e.Outputs.Len())
	var list []cas.Blob
	add := func(b cas.Blob) {
		if b.Size > 0 && !seen[b.Digest] {
			seen[b.Digest] = true
			list = append(list, b)
		}
	}
	for _, o := range e.Outputs.Entries() {
		if o.Kind == tree.File {
			add(cas.Blob{Digest: o.Digest, Size: o.Size})
		}
	}
	add(e.Log)
	return list
}

// foldersOf returns the folders that the entries of a tree stand in, ordered by
// path: each before what is in it.
func foldersOf(t tree.Tree) []string {
	seen := map[string]bool{}
	var list []string
	for _, e := range t.Entries() {
		for dir := path.Dir(e.Path); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			list = append(list, dir)
		}
	}
	slices.Sort(list)
	return list
}
