// SPDX-License-Identifier: Apache-2.0

package statcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// project is a folder with files, and another for what is kept of them.
type project struct {
	t    testing.TB
	root *os.Root
	kept string
	now  time.Time
	log  bytes.Buffer
	logs *slog.Logger // to log
}

func newProject(t testing.TB, names ...string) *project {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	p := &project{t: t, root: root, kept: filepath.Join(t.TempDir(), "inputs"), now: time.Now()}
	p.logs = slog.New(slog.NewTextHandler(&p.log, nil))
	for _, name := range names {
		p.write(name, "content of "+name)
	}
	time.Sleep(30 * time.Millisecond) // or the files are too new to be remembered
	return p
}

func (p *project) write(name, content string) {
	full := filepath.Join(p.root.Name(), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) open() *statcache.Cache {
	return statcache.Open(statcache.Options{
		Dir: p.kept, Root: p.root, Log: p.logs, Now: func() time.Time { return p.now },
	})
}

// found walks the project.
func (p *project) found() tree.Found {
	p.t.Helper()
	w := tree.Walker[bool]{Root: p.root, Child: func(_ string, isDir, _ bool) (bool, tree.Verdict) {
		return false, tree.Verdict{Take: true, Descend: isDir}
	}}
	found, err := w.Walk(p.t.Context(), "", false, tree.Verdict{})
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

func (p *project) sum(c *statcache.Cache, found tree.Found) {
	p.t.Helper()
	if err := c.Sum(p.t.Context(), found); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) save(c *statcache.Cache) {
	p.t.Helper()
	if err := c.Save(); err != nil {
		p.t.Fatal(err)
	}
}

// file is where the digests are kept.
func (p *project) file() string {
	p.t.Helper()
	all, err := filepath.Glob(filepath.Join(p.kept, "*"))
	if err != nil || len(all) != 1 {
		p.t.Fatalf("%q, %v", all, err)
	}
	return all[0]
}

// lie is no content's digest: who sees it knows that nothing was read.
var lie = digest.New(digest.BLAKE3, [32]byte{1, 2, 3})

// learnLies makes the cache believe that every file has the digest lie.
func (p *project) learnLies(c *statcache.Cache) {
	found := p.found()
	for i := range found.Entries {
		found.Entries[i].Digest = lie
	}
	c.Learn(found)
}

// lies counts the files whose digests were not read.
func (p *project) lies(c *statcache.Cache) (n int) {
	p.t.Helper()
	found := p.found()
	p.sum(c, found)
	for _, e := range found.Entries {
		if e.Digest == lie {
			n++
		} else if want := digest.Of([]byte("content of " + e.Path)); e.Kind == tree.File && e.Digest != want {
			p.t.Errorf("%s: %v", e.Path, e.Digest)
		}
	}
	return n
}

func TestRemembersFromRunToRun(t *testing.T) {
	p := newProject(t, "a", "a-b", "a.b", "c/d/e", "c/d/f\xff\n")
	c := p.open()
	if n := p.lies(c); n != 0 {
		t.Errorf("%d of nothing", n)
	}
	p.learnLies(c)
	if n := p.lies(c); n != 5 {
		t.Errorf("%d of 5 in the same run", n)
	}
	if n := p.lies(p.open()); n != 0 {
		t.Errorf("%d before they were saved", n)
	}
	p.save(c)
	if n := p.lies(p.open()); n != 5 {
		t.Errorf("%d of 5 in the next run", n)
	}
	if p.log.Len() > 0 {
		t.Error(p.log.String())
	}
	// What is new joins what is kept.
	p.write("b0", "content of b0")
	time.Sleep(30 * time.Millisecond)
	c = p.open()
	p.lies(c)
	p.save(c)
	if n := p.lies(p.open()); n != 5 {
		t.Errorf("%d of 5 after another file was read", n)
	}
	// What was changed takes the place of what is kept.
	p.write("a", "another content")
	p.write("c/d/e", "another content")
	time.Sleep(30 * time.Millisecond)
	c = p.open()
	p.learnLies(c)
	p.save(c)
	if n := p.lies(p.open()); n != 6 {
		t.Errorf("%d of 6 after two were changed", n)
	}
}

func TestSavesOnlyNews(t *testing.T) {
	p := newProject(t, "a")
	save := func() os.FileInfo {
		c := p.open()
		p.lies(c)
		p.save(c)
		info, err := os.Stat(p.file())
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := save()
	if !os.SameFile(first, save()) {
		t.Error("written again without need")
	}
	p.now = p.now.Add(24 * time.Hour)
	if os.SameFile(first, save()) {
		t.Error("the days of use are not kept")
	}
}

// TestSizesMustAgree is told of a digest that is of something else than stands there.
func TestSizesMustAgree(t *testing.T) {
	p := newProject(t, "a", "b")
	c := p.open()
	found := p.found()
	for i := range found.Entries {
		found.Entries[i].Digest = lie
	}
	found.Entries[0].Size++
	c.Learn(found)
	if n := p.lies(c); n != 1 {
		t.Errorf("%d are remembered, want one", n)
	}
}

// TestForgets lets time go by: what is of use stays, what is not goes.
func TestForgets(t *testing.T) {
	p := newProject(t, "a", "b")
	c := p.open()
	p.learnLies(c)
	p.save(c)
	onlyA := func() tree.Found {
		found := p.found()
		return tree.Found{Entries: found.Entries[:1], Stats: found.Stats[:1]}
	}
	for range 4 {
		p.now = p.now.Add(10 * 24 * time.Hour)
		c := p.open()
		p.sum(c, onlyA())
		p.save(c)
	}
	if n := p.lies(p.open()); n != 1 {
		t.Errorf("%d are remembered, want one", n)
	}
}

func TestEveryPartOfAStatTells(t *testing.T) {
	p := newProject(t, "a")
	c := p.open()
	p.learnLies(c)
	for name, change := range map[string]func(*tree.Stat){
		"dev": func(s *tree.Stat) { s.Dev++ }, "inode": func(s *tree.Stat) { s.Inode++ }, "size": func(s *tree.Stat) { s.Size++ },
		"mode": func(s *tree.Stat) { s.Mode ^= 0o4000 }, "mtime": func(s *tree.Stat) { s.Mtime-- }, "ctime": func(s *tree.Stat) { s.Ctime++ },
		"nothing known": func(s *tree.Stat) { *s = tree.Stat{} },
	} {
		found := p.found()
		change(&found.Stats[0])
		p.sum(c, found)
		if found.Entries[0].Digest != digest.Of([]byte("content of a")) {
			t.Errorf("%s makes no difference", name)
		}
		p.learnLies(c) // the reading was remembered
	}
	found := p.found()
	found.Entries[0].Path = "b"
	if err := c.Sum(t.Context(), found); err == nil {
		t.Error("a file that is not there has a digest")
	}
	if n := p.lies(c); n != 1 {
		t.Error("and without a change it is not remembered")
	}
}

// TestDamage flips every bit of what is kept, and cuts it off everywhere.
func TestDamage(t *testing.T) {
	p := newProject(t, "a", "b/c")
	c := p.open()
	p.learnLies(c)
	p.save(c)
	name := p.file()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// A cache without a file to read would say nothing: each damage is tried
	// with a walk of one file only.
	found := p.found()
	one := tree.Found{Entries: found.Entries[:1], Stats: found.Stats[:1]}
	try := func(what string, data []byte) {
		t.Helper()
		p.log.Reset()
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		p.sum(p.open(), one)
		if one.Entries[0].Digest != digest.Of([]byte("content of a")) {
			t.Fatalf("%s: the digest is %v", what, one.Entries[0].Digest)
		}
		if !strings.Contains(p.log.String(), "level=WARN") {
			t.Fatalf("%s: nothing was said", what)
		}
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(whole); i += step {
		for bit := range 8 {
			data := bytes.Clone(whole)
			data[i] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d", bit, i), data)
		}
		try(fmt.Sprintf("%d bytes", i), whole[:i])
	}
	try("longer", append(bytes.Clone(whole), 0))
	if err := os.WriteFile(name, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if p.lies(p.open()) != 2 {
		t.Error("undamaged, it is not believed")
	}
}

// TestPlanted puts what others could in place of the file.
func TestPlanted(t *testing.T) {
	p, other := newProject(t, "a"), newProject(t, "a")
	other.kept = p.kept
	c := p.open()
	p.learnLies(c)
	p.save(c)
	name := p.file()
	theirs, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c = other.open()
	other.lies(c)
	other.save(c)
	if p.lies(p.open()) != 1 {
		t.Error("projects that share a folder are in each other's way")
	}
	all, err := filepath.Glob(filepath.Join(p.kept, "*"))
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	others := all[0]
	if others == name {
		others = all[1]
	}
	replace := func(with func() error) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(others), with()); err != nil {
			t.Fatal(err)
		}
		other.log.Reset()
		if other.lies(other.open()) != 0 || !strings.Contains(other.log.String(), "level=WARN") {
			t.Errorf("believed: %s", other.log.String())
		}
	}
	replace(func() error { return os.WriteFile(others, theirs, 0o644) }) // another project's
	replace(func() error { return os.Symlink(name, others) })
	replace(func() error { return os.Mkdir(others, 0o755) })
	replace(func() error { return syscall.Mkfifo(others, 0o644) })
	writable := func() error { return errors.Join(os.WriteFile(others, theirs, 0o644), os.Chmod(others, 0o666)) }
	replace(writable)
	if os.Geteuid() == 0 {
		replace(func() error { return errors.Join(os.WriteFile(others, theirs, 0o644), os.Chown(others, 12345, 12345)) })
	}
}

// TestCannotBeKept has no folder to keep digests in: they are read.
func TestCannotBeKept(t *testing.T) {
	p := newProject(t, "a")
	if err := os.WriteFile(p.kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := p.open()
	if p.lies(c) != 0 {
		t.Error("it lies")
	}
	if err := c.Save(); err != nil {
		t.Errorf("nothing was to be saved: %v", err)
	}
	if !strings.Contains(p.log.String(), "cannot remember") {
		t.Error("nothing was said")
	}
}

// TestTogether has many caches of one project at work at once: what one of
// them saves, the others do not undo.
func TestTogether(t *testing.T) {
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	p := newProject(t, names...)
	first, second := p.open(), p.open()
	found := p.found()
	for i := range found.Entries {
		found.Entries[i].Digest = lie
	}
	learn := func(c *statcache.Cache, from, to int) {
		c.Learn(tree.Found{Entries: found.Entries[from:to], Stats: found.Stats[from:to]})
	}
	learn(first, 0, 10)
	learn(second, 5, 20)
	p.save(first)
	p.save(second)
	if n := p.lies(p.open()); n != 20 {
		t.Errorf("%d of 20", n)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				c := p.open()
				p.lies(c)
				learn(c, 20, 40)
				p.save(c)
			}
		})
	}
	all.Wait()
	if n := p.lies(p.open()); n != 40 {
		t.Errorf("%d of 40", n)
	}
	p.file() // and nothing else is left
	if p.log.Len() > 0 {
		t.Error(p.log.String())
	}
}

// BenchmarkUnchanged is what a run with nothing to do does here: reading what
// is kept, and looking up every file.
func BenchmarkUnchanged(b *testing.B) {
	const n = 100_000
	p := newProject(b)
	found := tree.Found{Entries: make([]tree.Entry, n), Stats: make([]tree.Stat, n)}
	for i := range n {
		found.Entries[i] = tree.Entry{Path: fmt.Sprintf("packages/p%03d/src/file%06d.go", i/1000, i), Kind: tree.File, Size: 4096, Digest: lie}
		found.Stats[i] = tree.Stat{Dev: 1, Inode: uint64(i), Size: 4096, Mtime: int64(i), Ctime: int64(i)}
	}
	c := p.open()
	c.Learn(found)
	p.save(c)
	b.ReportAllocs()
	for b.Loop() {
		p.sum(p.open(), found)
	}
}
