// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// summed is a project whose files are known, and a summary of them.
type summed struct {
	*testing.T
	dir  string
	root *os.Root
	now  time.Time
	c    *Cache
	s    Summary
}

func newSummed(t *testing.T) *summed {
	p := &summed{T: t, dir: t.TempDir(), now: time.Now()}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	p.root = root
	p.write("a", "1")
	p.write("src/b", "2")
	p.write("src/c", "3")
	if err := os.Symlink("a", filepath.Join(p.dir, "link")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * fineTick)
	p.open()
	p.sum(p.found())
	p.s = Summary{
		Tree:    digest.Of([]byte("tree")),
		Cover:   []receipt.Path{{Path: "src/", Hash: digest.Of([]byte("src"))}},
		Folders: []tree.Folder{{Path: "src"}},
	}
	for _, e := range p.found().Entries {
		p.s.Digests = append(p.s.Digests, digest.Of([]byte(e.Path)))
	}
	return p
}

func (p *summed) write(name, content string) {
	p.Helper()
	full := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
		p.Fatal(err)
	}
}

func (p *summed) open() {
	p.c = Open(Options{Dir: filepath.Join(p.dir, ".attest"), Root: p.root, Now: func() time.Time { return p.now }})
}

// reopen is the next run.
func (p *summed) reopen() {
	p.Helper()
	if err := p.c.Save(); err != nil {
		p.Fatal(err)
	}
	p.open()
}

func (p *summed) found() tree.Found {
	p.Helper()
	w := tree.Walker[bool]{Root: p.root, Child: func(name string, isDir, _ bool) (bool, tree.Verdict) {
		return false, tree.Verdict{Take: name != ".attest", Descend: isDir && name != ".attest"}
	}}
	found, err := w.Walk(p.Context(), "", false, tree.Verdict{})
	if err != nil {
		p.Fatal(err)
	}
	return found
}

func (p *summed) sum(found tree.Found) {
	p.Helper()
	if err := p.c.Sum(p.Context(), found); err != nil {
		p.Fatal(err)
	}
}

func (p *summed) view(name string, found tree.Found) View {
	p.Helper()
	v, err := p.c.View(name, found)
	if err != nil {
		p.Fatal(err)
	}
	return v
}

// kept reports whether there is a summary for the files as they are.
func (p *summed) kept(name string) bool {
	p.Helper()
	got, ok := p.c.Summary(p.view(name, p.found()))
	if ok && (got.Tree != p.s.Tree || !slices.Equal(got.Digests, p.s.Digests) || !cmp.Equal(got.Cover, p.s.Cover, cmp.Comparer(func(a, b digest.Digest) bool { return a == b }))) {
		p.Errorf("another summary: %+v", got)
	}
	return ok
}

func TestSummaryIsKept(t *testing.T) {
	p := newSummed(t)
	if p.kept("step") {
		t.Error("there is one before there was any")
	}
	p.c.Summarise(p.view("step", p.found()), p.s, p.c.Now())
	if !p.kept("step") || p.kept("other") {
		t.Error("in this run")
	}
	p.reopen()
	if !p.kept("step") || p.kept("other") {
		t.Error("in the next run")
	}
	for i := range 4 { // of use every ten days
		p.now = p.now.Add(10 * 24 * time.Hour)
		if p.reopen(); !p.kept("step") {
			t.Errorf("forgotten after %d0 days", i+1)
		}
	}
	p.c.Summarise(p.view("other", p.found()), p.s, p.c.Now())
	p.reopen()
	p.now = p.now.Add((forget + 1) * 24 * time.Hour)
	p.open()
	if !p.kept("other") {
		t.Error("of use just now, it is forgotten")
	}
	if p.reopen(); p.kept("step") || !p.kept("other") {
		t.Error("without use it is remembered, or what is of use is not")
	}
	p.now = p.now.Add(-24 * time.Hour)
	p.open()
	p.c.Summarise(p.view("third", p.found()), p.s, p.c.Now())
	if p.reopen(); p.kept("other") || !p.kept("third") {
		t.Error("what was last used in days to come is remembered")
	}
}

// Whatever changes a file, there is no summary any more; nor is there one where the
// system says nothing of a file.
func TestSummaryOfOtherFiles(t *testing.T) {
	for name, change := range map[string]func(p *summed, f *tree.Found){
		"a file's time":   func(_ *summed, f *tree.Found) { f.Stats[0].Ctime++ },
		"a file's number": func(_ *summed, f *tree.Found) { f.Stats[0].Inode++ },
		"a file's mode":   func(_ *summed, f *tree.Found) { f.Entries[0].Perm ^= 0o100 },
		"a path":          func(_ *summed, f *tree.Found) { f.Entries[0].Path += "a" },
		"one less":        func(_ *summed, f *tree.Found) { f.Entries, f.Stats = f.Entries[1:], f.Stats[1:] },
		"nothing known":   func(_ *summed, f *tree.Found) { f.Stats[0] = tree.Stat{} },
		"a link's target": func(p *summed, f *tree.Found) {
			if err := errors.Join(p.root.Remove("link"), p.root.Symlink("b", "link")); err != nil {
				p.Fatal(err)
			}
		},
	} {
		p := newSummed(t)
		p.c.Summarise(p.view("step", p.found()), p.s, p.c.Now())
		found := p.found()
		change(p, &found)
		v := p.view("step", found)
		if _, ok := p.c.Summary(v); ok {
			t.Errorf("%s makes no difference", name)
		}
		if name == "nothing known" {
			p.c.Summarise(v, p.s, p.c.Now())
			if _, ok := p.c.Summary(v); ok || !p.kept("step") {
				t.Error("kept without knowing the files")
			}
		}
	}
}

// A summary says what the files' digests are, and so it is kept only where they are
// known for good: not of a file that was changed since, or too shortly before.
func TestSummaryOfUnknownFiles(t *testing.T) {
	none := func(p *summed, v View, s Summary, m Moment, what string) {
		t.Helper()
		p.c.Summarise(v, s, m)
		if _, ok := p.c.Summary(v); ok {
			t.Errorf("kept with %s", what)
		}
	}
	p := newSummed(t)
	moment := p.c.Now()
	none(p, p.view("step", tree.Found{}), p.s, moment, "no files")
	none(p, p.view("step", p.found()), p.s, Moment{}, "folders of which nobody knows whether they change")
	late := p.s
	late.Folders = []tree.Folder{{Path: "src"}, {Path: "none"}}
	none(p, p.view("step", p.found()), late, moment, "a folder that is not there")
	late.Folders = []tree.Folder{{Path: "a"}}
	none(p, p.view("step", p.found()), late, moment, "a folder that is a file")
	for _, saved := range []bool{false, true} {
		if saved {
			p.reopen()
		}
		found := p.found()
		found.Stats[0].Ctime++
		none(p, p.view("step", found), p.s, moment, fmt.Sprintf("a file that has changed (saved: %v)", saved))
		found = p.found()
		found.Entries[0].Path = "A"
		none(p, p.view("step", found), p.s, moment, fmt.Sprintf("a file that nobody has read (saved: %v)", saved))
	}
	if p.c.Summarise(p.view("step", p.found()), p.s, moment); !p.kept("step") {
		t.Error("and with all of them known there is none")
	}
}

func TestCovered(t *testing.T) {
	for name, change := range map[string]func(p *summed) error{
		"a new file":  func(p *summed) error { return os.WriteFile(filepath.Join(p.dir, "src/new"), nil, 0o644) },
		"a file less": func(p *summed) error { return p.root.Remove("src/b") },
		"no folder":   func(p *summed) error { return p.root.RemoveAll("src") },
		"another": func(p *summed) error {
			return errors.Join(p.root.Rename("src", "was"), p.root.Mkdir("src", 0o755))
		},
		"a link to it": func(p *summed) error {
			return errors.Join(p.root.Rename("src", "was"), p.root.Symlink("was", "src"))
		},
	} {
		p := newSummed(t)
		v := p.view("step", p.found())
		p.c.Summarise(v, p.s, p.c.Now())
		s, ok := p.c.Summary(v)
		if !ok || len(s.Folders) != 1 || !p.c.Covered(s) {
			t.Fatalf("before: %v, %+v", ok, s.Folders)
		}
		if err := change(p); err != nil {
			t.Fatal(err)
		}
		if p.c.Covered(s) {
			t.Errorf("%s makes no difference", name)
		}
	}
	p := newSummed(t)
	if p.c.Covered(p.s) || p.c.Covered(Summary{Folders: []tree.Folder{{Path: "none"}}}) {
		t.Error("a folder of which nothing is known has not changed")
	}
}

func TestFill(t *testing.T) {
	p := newSummed(t)
	found := p.found()
	if (Summary{Digests: p.s.Digests[1:]}).Fill(found) || (Summary{}).Fill(found) || !found.Entries[0].Digest.IsZero() {
		t.Error("filled from a summary of other files")
	}
	if !p.s.Fill(found) {
		t.Fatal("not filled")
	}
	for i, e := range found.Entries {
		if want := digest.Of([]byte(e.Path)); e.Kind == tree.File && (e.Digest != want || e.Size != 1) || e.Kind != tree.File && !e.Digest.IsZero() {
			t.Errorf("%d: %+v", i, e)
		}
	}
}
