// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/attest-pipeline/attest/isolation/cache"
)

// TestInPlaceWantsFolders has a caller whose list was made before a folder that
// everybody may write to became a link, or went.
func TestInPlaceWantsFolders(t *testing.T) {
	w := newWorld(t, cache.Options{})
	dir := t.TempDir()
	writeTo(t, dir, "d/x", "1")
	at := func(p string) string { return filepath.Join(dir, p) }
	if err := os.Chmod(at("d"), 0o777); err != nil {
		t.Fatal(err)
	}
	r, from := resultOf(t, "build", dir)
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	list := r.Outputs.Entries()
	if !e.InPlace(from, list, nil) {
		t.Fatal("what was stored is not in place")
	}
	if err := os.Rename(at("d"), at("elsewhere")); err != nil {
		t.Fatal(err)
	}
	if e.InPlace(from, list, nil) {
		t.Error("a folder that is not there is in place")
	}
	if err := os.Symlink("elsewhere", at("d")); err != nil {
		t.Fatal(err)
	}
	if e.InPlace(from, list, nil) {
		t.Error("a link to a folder is in place of the folder")
	}
	if err := errors.Join(os.Remove(at("d")), os.Rename(at("elsewhere"), at("d"))); err != nil {
		t.Fatal(err)
	}
	if !e.InPlace(from, list, nil) {
		t.Error("put back, it is not in place")
	}
}
