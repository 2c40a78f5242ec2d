// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

var sameDigest = cmp.Comparer(func(a, b digest.Digest) bool { return a == b })

func file(path, content string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Perm: 0o644, Size: int64(len(content)), Digest: digest.Of([]byte(content))}
}

func link(path, target string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.Symlink, Perm: 0o777, Size: int64(len(target)), Digest: digest.Of([]byte(target)), Target: target}
}

func dir(path string) tree.Entry { return tree.Entry{Path: path, Kind: tree.Dir, Perm: 0o755} }

func newTree(t testing.TB, entries ...tree.Entry) tree.Tree {
	t.Helper()
	made, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestListing(t *testing.T) {
	hex := func(s string) string { return digest.Of([]byte(s)).Hex() }
	executable := file("b", "2")
	executable.Perm = 0o700
	got := newTree(t, link("c", "b"), executable, dir("d"), file("a\n:", "1")).Listing()
	want := "attest.listing/v1\n" +
		"f 0644 1 " + hex("1") + " 3:a\n:\n" +
		"f 0755 1 " + hex("2") + " 1:b\n" +
		"l 0777 1 " + hex("b") + " 1:c\n" +
		"d 0755 0 - 1:d\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// The digest is that of the listing, in however many pieces it was hashed.
func TestDigestIsOfTheListing(t *testing.T) {
	for _, n := range []int{0, 1, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 320, 330, 1000, 5000} {
		var entries []tree.Entry
		for i := range n {
			entries = append(entries, file(fmt.Sprintf("folder/%06d", i), fmt.Sprint(i)))
		}
		made := newTree(t, entries...)
		if listing := made.Listing(); made.Digest() != digest.Of(listing) {
			t.Errorf("%d files, a listing of %d bytes: the digest is another one", n, len(listing))
		}
	}
}

// Trees that differ in what evidence is about have different listings; those
// that differ in other ways have the same.
func TestListingIsInjective(t *testing.T) {
	perm := func(e tree.Entry, perm uint32) tree.Entry { e.Perm = perm; return e }
	distinct := map[string][]tree.Entry{
		"nothing":         {},
		"an empty folder": {dir("a")},
		"an empty file":   {file("a", "")},
		"a file":          {file("a", "x")},
		"executable":      {perm(file("a", "x"), 0o755)},
		"a link":          {link("a", "x")},
		"another name":    {file("b", "x")},
		"a deeper name":   {file("a/x", "x")},
		"newline in name": {file("a\n", "x")},
		// The record of a second file as the end of the first one's name.
		"a record in a name":  {file("a\nf 0644 1 "+digest.Of([]byte("x")).Hex()+" 1:b", "x")},
		"two files":           {file("a", "x"), file("b", "x")},
		"contents exchanged":  {file("a", "y"), file("b", "x")},
		"contents exchanged'": {file("a", "x"), file("b", "y")},
	}
	seen := map[digest.Digest]string{}
	for name, entries := range distinct {
		d := newTree(t, entries...).Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have one digest", name, other)
		}
		seen[d] = name
	}
	same := newTree(t, file("a", "x")).Digest()
	for _, p := range []uint32{0o600, 0o666, 0o444, 0o677} {
		if newTree(t, perm(file("a", "x"), p)).Digest() != same {
			t.Errorf("permissions %o make a difference", p)
		}
	}
	if newTree(t, perm(file("a", "x"), 0o100)).Digest() == same {
		t.Error("the execute bit makes no difference")
	}
}

func TestParseListing(t *testing.T) {
	want := newTree(t, file("a", "1"), file("b/\xff\n", ""), link("c", "b"), dir("d/e"))
	got, err := tree.ParseListing(want.Listing())
	if err != nil {
		t.Fatal(err)
	}
	expect := append([]tree.Entry(nil), want.Entries()...)
	for i := range expect {
		expect[i].Target = "" // not in a listing
	}
	if d := cmp.Diff(expect, got.Entries(), sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if empty, err := tree.ParseListing(tree.Tree{}.Listing()); err != nil || empty.Len() != 0 {
		t.Errorf("nothing: %d entries, %v", empty.Len(), err)
	}
}

func TestParseListingRefuses(t *testing.T) {
	hex := digest.Of(nil).Hex()
	record := "f 0644 0 " + hex + " 1:a\n"
	tests := []struct{ name, text string }{
		{"nothing", ""},
		{"no header", record},
		{"another version", "attest.listing/v2\n" + record},
		{"a record cut off", "attest.listing/v1\n" + record[:len(record)-1]},
		{"a path cut off", "attest.listing/v1\nf 0644 0 " + hex + " 2:a\n"},
		{"a length too small", "attest.listing/v1\nf 0644 0 " + hex + " 1:ab\n"},
		{"a length with a sign", "attest.listing/v1\nf 0644 0 " + hex + " +1:a\n"},
		{"a length with a zero", "attest.listing/v1\nf 0644 0 " + hex + " 01:a\n"},
		{"a length beyond everything", "attest.listing/v1\nf 0644 0 " + hex + " 99999999999999999999:a\n"},
		{"an empty path", "attest.listing/v1\nf 0644 0 " + hex + " 0:\n"},
		{"an unknown kind", "attest.listing/v1\np 0644 0 " + hex + " 1:a\n"},
		{"a mode of three digits", "attest.listing/v1\nf 644 0 " + hex + " 1:a\n"},
		{"a mode that is none of ours", "attest.listing/v1\nf 0600 0 " + hex + " 1:a\n"},
		{"a negative size", "attest.listing/v1\nf 0644 -1 " + hex + " 1:a\n"},
		{"a size with a zero", "attest.listing/v1\nf 0644 00 " + hex + " 1:a\n"},
		{"a file without digest", "attest.listing/v1\nf 0644 0 - 1:a\n"},
		{"a folder with digest", "attest.listing/v1\nd 0755 0 " + hex + " 1:a\n"},
		{"a folder with a size", "attest.listing/v1\nd 0755 1 - 1:a\n"},
		{"an upper-case digest", "attest.listing/v1\nf 0644 0 " + strings.ToUpper(hex) + " 1:a\n"},
		{"two spaces", "attest.listing/v1\nf  0644 0 " + hex + " 1:a\n"},
		{"twice", "attest.listing/v1\n" + record + record},
		{"out of order", "attest.listing/v1\nf 0644 0 " + hex + " 1:b\n" + record},
		{"a path that leaves", "attest.listing/v1\nf 0644 0 " + hex + " 4:../a\n"},
		{"an absolute path", "attest.listing/v1\nf 0644 0 " + hex + " 2:/a\n"},
		{"a file in a file", "attest.listing/v1\n" + record + "f 0644 0 " + hex + " 3:a/b\n"},
		{"a file in an empty folder", "attest.listing/v1\nd 0755 0 - 1:a\nf 0644 0 " + hex + " 3:a/b\n"},
		{"bytes at the end", "attest.listing/v1\n" + record + "\n"},
		{"CRLF", "attest.listing/v1\r\n" + record},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tree.ParseListing([]byte(tt.text)); !errors.Is(err, tree.ErrInvalid) || got.Len() != 0 {
				t.Errorf("got %d entries, %v", got.Len(), err)
			}
		})
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add(tree.Tree{}.Listing())
	f.Add(newTree(f, file("a", "1"), file("b/\xff\n", ""), link("c", "b"), dir("d/e")).Listing())
	f.Add([]byte("attest.listing/v1\nf 0644 0 - 1:a\n"))
	f.Add([]byte("attest.listing/v1\nd 0755 0 - 3:a/b\nd 0755 0 - 1:a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := tree.ParseListing(text)
		if err != nil {
			if !errors.Is(err, tree.ErrInvalid) || got.Len() != 0 {
				t.Fatalf("%d entries with error %v", got.Len(), err)
			}
			return
		}
		if again := got.Listing(); !bytes.Equal(again, text) {
			t.Fatalf("parses, but is listed as %q", again)
		}
	})
}

func BenchmarkListing100000(b *testing.B) {
	var entries []tree.Entry
	for i := range 100000 {
		entries = append(entries, file(fmt.Sprintf("src/%03d/%06d.go", i/1000, i), fmt.Sprint(i)))
	}
	all := newTree(b, entries...)
	b.ReportAllocs()
	for b.Loop() {
		all.Listing()
	}
}
