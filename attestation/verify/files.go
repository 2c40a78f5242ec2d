// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// maxListing bounds a listing: some 100 bytes an entry, for millions of entries.
const maxListing = 1 << 30

// claim is one entry of a receipt, and the first place in it that says so.
type claim struct {
	receipt.Path
	step, role string
}

func (c claim) isFolder() bool { return strings.HasSuffix(c.Path.Path, "/") }

func (c claim) name() string { return strings.TrimSuffix(c.Path.Path, "/") }

func (c claim) difference(change, want, got string) Difference {
	return Difference{c.Path.Path, change, want, got, c.step, c.role}
}

// claimsOf returns what the receipt says about files, ordered by path. What it
// says several times is checked once.
func claimsOf(r *receipt.Receipt) []claim {
	var claims []claim
	seen := map[receipt.Path]bool{}
	add := func(paths []receipt.Path, step, role string) {
		for _, p := range paths {
			if !seen[p] {
				seen[p] = true
				claims = append(claims, claim{p, step, role})
			}
		}
	}
	for i := range r.Steps {
		add(r.Steps[i].Outputs, r.Steps[i].Name, "output")
	}
	for i := range r.Steps {
		add(r.Steps[i].Inputs, r.Steps[i].Name, "input")
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.Path.Path, b.Path.Path) })
	return claims
}

// checkFiles computes every claim again from the files below root. The failure
// is nil where all of them hold; an error means that ctx ended.
func checkFiles(ctx context.Context, root *os.Root, r *receipt.Receipt) (*failure, error) {
	claims := claimsOf(r)
	found, err := scan(ctx, root, claims)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return &failure{want: "files that can be read", got: err.Error(), err: err}, nil
	}
	var differences []Difference
	for _, c := range claims {
		differences = append(differences, found.compare(root, c)...)
	}
	if len(differences) == 0 {
		return nil, nil
	}
	return &failure{differences: onePerPath(differences)}, nil
}

// onePerPath orders the differences and drops what another claim said as well.
func onePerPath(all []Difference) []Difference {
	slices.SortStableFunc(all, func(a, b Difference) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b Difference) bool {
		return a.Path == b.Path && a.Change == b.Change && a.Want == b.Want
	})
}

// compare returns how the disk differs from the claim; nothing where it holds.
func (d disk) compare(root *os.Root, c claim) []Difference {
	e, isEntry := d.Find(c.name())
	below := d.Below(c.name())
	isFolder := below.Len() > 0 || e.Kind == tree.Dir
	switch odd, ok := d.odd[c.Path.Path]; {
	case ok:
		return []Difference{c.difference("kind", wanted(c), odd)}
	case !isEntry && !isFolder:
		return []Difference{c.difference("removed", "", "")}
	case isFolder != c.isFolder():
		got := "a folder"
		if !isFolder {
			got = entryKind(e)
		}
		return []Difference{c.difference("kind", wanted(c), got)}
	case isFolder:
		return compareFolder(root, c, below)
	default:
		return compareFile(c, e)
	}
}

func wanted(c claim) string {
	switch {
	case c.isFolder():
		return "a folder"
	case c.Mode == receipt.ModeSymlink:
		return "a symbolic link"
	default:
		return "a file"
	}
}

func entryKind(e tree.Entry) string {
	switch e.Kind {
	case tree.Symlink:
		return "a symbolic link"
	case tree.Dir:
		return "a folder"
	default:
		return "a file"
	}
}

func compareFile(c claim, e tree.Entry) []Difference {
	mode := receipt.ModeOf(e)
	switch {
	case (mode == receipt.ModeSymlink) != (c.Mode == receipt.ModeSymlink):
		return []Difference{c.difference("kind", wanted(c), entryKind(e))}
	case e.Digest != c.Hash:
		return []Difference{c.difference("changed", c.Hash.String(), e.Digest.String())}
	case !c.SHA256.IsZero() && e.SHA256 != c.SHA256:
		return []Difference{c.difference("changed", c.SHA256.String(), e.SHA256.String())}
	case mode != c.Mode:
		return []Difference{c.difference("mode", c.Mode, mode)}
	}
	return nil
}

func compareFolder(root *os.Root, c claim, now tree.Tree) []Difference {
	listing := now.Listing()
	got, sha := digest.Of(listing), digest.OfSHA256(listing)
	if got == c.Hash {
		if !c.SHA256.IsZero() && sha != c.SHA256 {
			return []Difference{c.difference("changed", c.SHA256.String(), sha.String())}
		}
		return nil
	}
	// A listing that its writer got wrong may show no difference; there is one.
	if then, ok := loadListing(root, c.Hash); ok {
		if differences := diff(c, then, now); len(differences) > 0 {
			return differences
		}
	}
	return []Difference{c.difference("changed", c.Hash.String(), got.String())}
}

// loadListing reads a kept listing, and believes it only by its digest.
func loadListing(root *os.Root, want digest.Digest) (tree.Tree, bool) {
	name := filepath.Join(".attest", receipt.ListingsDir, want.Hex())
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return tree.Tree{}, false
	}
	defer f.Close()
	text, err := io.ReadAll(digest.NewReader(io.LimitReader(f, maxListing), want))
	if err != nil {
		return tree.Tree{}, false
	}
	t, err := tree.ParseListing(text)
	return t, err == nil
}

// diff names the entries that differ between a folder as it was recorded and as
// it is now. Both are ordered by path.
func diff(c claim, then, now tree.Tree) []Difference {
	var out []Difference
	add := func(e tree.Entry, change, want, got string) {
		one := c
		one.Path.Path += e.Path
		if e.Kind == tree.Dir {
			one.Path.Path += "/"
		}
		out = append(out, one.difference(change, want, got))
	}
	a, b := then.Entries(), now.Entries()
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			add(a[0], "removed", "", "")
			a = a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			add(b[0], "added", "", "")
			b = b[1:]
		default:
			switch was, is := a[0], b[0]; {
			case was.Kind != is.Kind:
				add(was, "kind", entryKind(was), entryKind(is))
			case was.Digest != is.Digest:
				add(is, "changed", was.Digest.String(), is.Digest.String())
			case was.Mode() != is.Mode():
				add(is, "mode", receipt.ModeOf(was), receipt.ModeOf(is))
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}
