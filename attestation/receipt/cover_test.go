// SPDX-License-Identifier: Apache-2.0

package receipt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// treeOf makes a Tree of paths; one that ends with a slash is an empty folder.
func treeOf(t testing.TB, paths ...string) tree.Tree {
	t.Helper()
	var entries []tree.Entry
	for _, p := range paths {
		e := tree.Entry{Path: p, Kind: tree.File, Perm: 0o644, Size: int64(len(p)), Digest: digest.Of([]byte(p)), SHA256: digest.OfSHA256([]byte(p))}
		if dir, ok := strings.CutSuffix(p, "/"); ok {
			e = tree.Entry{Path: dir, Kind: tree.Dir, Perm: 0o755}
		}
		entries = append(entries, e)
	}
	made, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// diskOf lists folders of a disk that holds exactly the tree.
func diskOf(disk tree.Tree) func(dir string) ([]string, error) {
	folders := map[string][]string{}
	for _, e := range disk.Entries() {
		if e.Kind == tree.Dir {
			folders[e.Path] = nil
		}
		for p := e.Path; p != "."; p = path.Dir(p) {
			if dir := path.Dir(p); !slices.Contains(folders[dir], path.Base(p)) {
				folders[dir] = append(folders[dir], path.Base(p))
			}
		}
	}
	return func(dir string) ([]string, error) {
		if names, ok := folders[dir]; ok {
			return names, nil
		}
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
}

func names(paths []receipt.Path) []string {
	var names []string
	for _, p := range paths {
		names = append(names, p.Path)
	}
	return names
}

func TestCover(t *testing.T) {
	disk := []string{"a", "dir/x", "dir/y", "dir/sub/z", "dir/sub/w", "dir-x", "dir.x", "empty/", "outer/empty/", "outer/f", "q/r/s/t"}
	tests := []struct {
		name     string
		selected []string
		want     []string
	}{
		{"nothing", nil, nil},
		{"everything", disk, []string{"a", "dir-x", "dir.x", "dir/", "empty/", "outer/", "q/"}},
		{"a file of a folder", []string{"dir/x"}, []string{"dir/x"}},
		{"all files of a folder but not its folder", []string{"dir/x", "dir/y"}, []string{"dir/x", "dir/y"}},
		{"a folder in a folder", []string{"dir/sub/z", "dir/sub/w", "dir/y"}, []string{"dir/sub/", "dir/y"}},
		{"half a folder in a folder", []string{"dir/x", "dir/y", "dir/sub/z"}, []string{"dir/sub/z", "dir/x", "dir/y"}},
		{"a deep folder", []string{"q/r/s/t"}, []string{"q/"}},
		{"an empty folder", []string{"empty/"}, []string{"empty/"}},
		{"a folder without its empty one", []string{"outer/f"}, []string{"outer/f"}},
		{"a folder with its empty one", []string{"outer/f", "outer/empty/"}, []string{"outer/"}},
		{"a folder that is not empty on disk", []string{"a", "q/r/"}, []string{"a"}},
		{"a folder that is gone", []string{"gone/"}, []string{"gone/"}},
		{"names around the slash", []string{"dir-x", "dir.x", "dir/sub/w"}, []string{"dir-x", "dir.x", "dir/sub/w"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			selected := treeOf(t, tt.selected...)
			got, err := receipt.Cover(selected, diskOf(treeOf(t, disk...)))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, names(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			outputs, err := receipt.CoverOutputs(selected, diskOf(treeOf(t, disk...)))
			if err != nil {
				t.Fatal(err)
			}
			r := large(0)
			r.Steps[0].Inputs, r.Steps[0].Outputs = got, outputs
			if _, err := receipt.Marshal(r); err != nil {
				t.Errorf("no receipt can hold it: %v", err)
			}
		})
	}
}

func TestCoverDigests(t *testing.T) {
	disk := treeOf(t, "dir/x", "dir/y", "f")
	got, err := receipt.CoverOutputs(disk, diskOf(disk))
	if err != nil {
		t.Fatal(err)
	}
	listing := disk.Below("dir/").Listing()
	want := []receipt.Path{
		{Path: "dir/", Hash: digest.Of(listing), SHA256: digest.OfSHA256(listing)},
		{Path: "f", Mode: "0644", Hash: digest.Of([]byte("f")), SHA256: digest.OfSHA256([]byte("f"))},
	}
	if d := cmp.Diff(want, got, sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got, err = receipt.Cover(disk, diskOf(disk)); err != nil || !got[0].SHA256.IsZero() || !got[1].SHA256.IsZero() {
		t.Errorf("inputs have one digest: %v, %v", got, err)
	}
}

func TestCoverNames(t *testing.T) {
	disk := treeOf(t, "ok/bad\xff", "part/bad\xff", "part/x")
	if got, err := receipt.Cover(treeOf(t, "ok/bad\xff"), diskOf(disk)); err != nil || got[0].Path != "ok/" {
		t.Errorf("within a whole folder: %v, %v", got, err)
	}
	_, err := receipt.Cover(treeOf(t, "part/bad\xff"), diskOf(disk))
	if err == nil || !strings.Contains(err.Error(), `"part/bad\xff"`) {
		t.Errorf("on its own: %v", err)
	}
}

func TestCoverCannotList(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := receipt.Cover(treeOf(t, "a/b"), func(string) ([]string, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// The rows say exactly what was selected, and no row can be left out: expanding
// them on the disk gives the selection, and no folder of the project is wholly
// selected without standing as one row.
func TestCoverIsExactAndMinimal(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var all []string
		for i := range 1 + random.IntN(30) {
			name := fmt.Sprint(i)
			for range random.IntN(4) {
				name = string(rune('a'+random.IntN(2))) + "/" + name
			}
			all = append(all, name)
		}
		var some []string
		for _, p := range all {
			if random.IntN(5) > 0 {
				some = append(some, p)
			}
		}
		disk, selected := treeOf(t, all...), treeOf(t, some...)
		rows, err := receipt.Cover(selected, diskOf(disk))
		if err != nil {
			t.Fatal(err)
		}
		var expanded []string
		for _, row := range rows {
			dir, isDir := strings.CutSuffix(row.Path, "/")
			if !isDir {
				expanded = append(expanded, row.Path)
				continue
			}
			for _, e := range disk.Below(dir).Entries() {
				expanded = append(expanded, row.Path+e.Path)
			}
			if up := path.Dir(dir); up != "." && selected.Below(up).Len() == disk.Below(up).Len() {
				t.Fatalf("%s stands in %v, and %s could", dir, names(rows), up)
			}
		}
		slices.Sort(expanded)
		var want []string
		for _, e := range selected.Entries() {
			want = append(want, e.Path)
			if up := path.Dir(e.Path); slices.Contains(names(rows), e.Path) && up != "." && selected.Below(up).Len() == disk.Below(up).Len() {
				t.Fatalf("%s stands in %v, and %s could", e.Path, names(rows), up)
			}
		}
		if d := cmp.Diff(want, expanded); d != "" {
			t.Fatalf("disk %v, rows %v: %s", all, names(rows), d)
		}
	}
}

// The vectors of FORMAT.md, section 6.
func TestListingVectors(t *testing.T) {
	hello := digest.Of([]byte("hello\n"))
	listed, err := tree.New([]tree.Entry{
		{Path: "a/b", Kind: tree.File, Perm: 0o600, Size: 6, Digest: hello},
		{Path: "a-b", Kind: tree.File, Perm: 0o700, Size: 6, Digest: hello},
		{Path: "a/empty", Kind: tree.Dir, Perm: 0o700},
		{Path: "link", Kind: tree.Symlink, Perm: 0o777, Size: 3, Digest: digest.Of([]byte("a-b"))},
		{Path: "line\nfeed\xff", Kind: tree.File, Perm: 0o644, Size: 0, Digest: digest.Of(nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var hashes bytes.Buffer
	for _, v := range []struct{ what, bytes string }{
		{"listing.txt", string(listed.Listing())},
		{"the listing of an empty folder", string(tree.Tree{}.Listing())},
		{"hello and a line feed", "hello\n"},
		{"no content", ""},
	} {
		fmt.Fprintf(&hashes, "%s  %s\n%s  %s\n", digest.Of([]byte(v.bytes)), v.what, digest.OfSHA256([]byte(v.bytes)), v.what)
	}
	golden(t, "listing.txt", listed.Listing())
	golden(t, "listing.hashes", hashes.Bytes())
}

func BenchmarkCover100000(b *testing.B) {
	var all []string
	for i := range 100000 {
		all = append(all, fmt.Sprintf("src/%03d/%02d/%06d.go", i/1000, i/50%20, i))
	}
	disk := treeOf(b, all...)
	list := diskOf(disk)
	most := treeOf(b, all[1:]...)
	for name, selected := range map[string]tree.Tree{"whole": disk, "all but one": most} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := receipt.Cover(selected, list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
