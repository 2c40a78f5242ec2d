// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// neverTheSame writes a file again and again, with its size and mtime put back.
func neverTheSame(t *testing.T, dir string) {
	name := filepath.Join(dir, "again")
	old := time.Unix(1_000_000_000, 0)
	seen := map[tree.Stat]int{}
	for i := range 3000 {
		if err := errors.Join(os.WriteFile(name, fmt.Appendf(nil, "%06d", i), 0o644), os.Chtimes(name, old, old)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[tree.StatOf(info)]; ok {
			t.Fatalf("contents %d and %d have one Stat", before, i)
		}
		seen[tree.StatOf(info)] = i
	}
}

// edits is how many edits TestEdits makes; ATTEST_TEST_EDITS says otherwise.
const edits = 1000

// TestEdits edits a tree at random, and compares what the cache says after every
// edit with what reading everything says.
func TestEdits(t *testing.T) {
	n := edits
	if long, err := strconv.Atoi(os.Getenv("ATTEST_TEST_EDITS")); err == nil {
		n = long
	} else if testing.Short() {
		n /= 5
	}
	for _, tt := range []struct {
		name  string
		tells bool // as the file system does, should it; else never
	}{{"telling", true}, {"ticking", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEditor(t, t.TempDir(), tt.tells)
			for i := range n {
				did := e.edit()
				if i%20 == 0 {
					time.Sleep(fineTick + 5*time.Millisecond) // let something settle
				}
				if i%5 == 0 {
					e.reopen()
				}
				e.compare(fmt.Sprintf("after edit %d (%s)", i, did))
			}
			t.Logf("%d of %d files were known", e.known, e.looks)
			if e.known < e.looks/4 || e.known == e.looks {
				t.Error("the test shows nothing")
			}
		})
	}
}

type editor struct {
	t            *testing.T
	dir, kept    string
	root         *os.Root
	cache        *Cache
	random       *rand.Rand
	known, looks int
	tells        bool
}

func newEditor(t *testing.T, dir string, tells bool) *editor {
	kept := filepath.Join(dir, ".attest/cache/inputs")
	e := &editor{t: t, dir: dir, kept: kept, random: rand.New(rand.NewPCG(3, 4)), tells: tells}
	for i := range 40 {
		e.write(fmt.Sprintf("d%d/f%d", i%5, i))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	e.root = root
	e.open()
	return e
}

func (e *editor) must(errs ...error) {
	e.t.Helper()
	if err := errors.Join(errs...); err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) abs(name string) string { return filepath.Join(e.dir, name) }

func (e *editor) write(name string) {
	e.must(os.MkdirAll(filepath.Dir(e.abs(name)), 0o755), os.WriteFile(e.abs(name), e.content(8), 0o644))
}

func (e *editor) content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(e.random.IntN(4))
	}
	return b
}

// pick returns a file or link of the tree, which it keeps from vanishing.
func (e *editor) pick() string {
	var all []string
	e.must(filepath.WalkDir(e.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".attest" {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(e.dir, p)
			all = append(all, rel)
		}
		return err
	}))
	for n := len(all); n < 30; n++ {
		name := fmt.Sprintf("d%d/m%d", e.random.IntN(6), e.random.IntN(100))
		e.write(name)
		all = append(all, name)
	}
	slices.Sort(all)
	return all[e.random.IntN(len(all))]
}

// edit changes one thing.
func (e *editor) edit() string {
	name := e.pick()
	info, err := os.Lstat(e.abs(name))
	e.must(err)
	link := info.Mode()&fs.ModeSymlink != 0
	switch k := e.random.IntN(10); {
	case k == 0: // add
		e.write(fmt.Sprintf("d%d/n%d", e.random.IntN(6), e.random.IntN(30)))
		return "add"
	case k == 1: // delete
		e.must(os.Remove(e.abs(name)))
		e.write("d0/always")
		return "delete " + name
	case k == 2: // rename, over another file perhaps
		e.must(os.Rename(e.abs(name), e.abs(e.pick())))
		return "rename " + name
	case k == 3 || link: // a link, another target
		e.must(os.Remove(e.abs(name)), os.Symlink(string(e.content(2)), e.abs(name)))
		return "link " + name
	case k == 4:
		e.must(os.Chmod(e.abs(name), []os.FileMode{0o644, 0o755, 0o600}[e.random.IntN(3)]))
		return "mode " + name
	case k == 5:
		now := time.Now()
		e.must(os.Chtimes(e.abs(name), now, now))
		return "touch " + name
	case k == 6:
		e.must(os.WriteFile(e.abs(name), e.content(1+e.random.IntN(20)), 0o644))
		return "content " + name
	case k == 7: // two files change places, with one size and mtime
		other := e.pick()
		e.must(os.Rename(e.abs(name), e.abs("swap")), os.WriteFile(e.abs(name), e.content(int(info.Size())), 0o644),
			os.Chtimes(e.abs(name), info.ModTime(), info.ModTime()), os.Rename(e.abs("swap"), e.abs(other)))
		return "swap " + name + " " + other
	default: // same size, same mtime, same inode
		e.must(os.WriteFile(e.abs(name), e.content(int(info.Size())), 0o644), os.Chtimes(e.abs(name), info.ModTime(), info.ModTime()))
		return "rewrite " + name
	}
}

// reopen is the next process.
func (e *editor) reopen() {
	e.must(e.cache.Save())
	e.open()
}

func (e *editor) open() {
	e.cache = Open(Options{Dir: e.kept, Root: e.root})
	e.cache.readClock = func(dir string) (Moment, error) {
		c, err := ReadClock(dir)
		c.telling = c.telling && e.tells
		return c, err
	}
}

func (e *editor) found() tree.Found {
	w := tree.Walker[bool]{Root: e.root, Child: func(p string, isDir, _ bool) (bool, tree.Verdict) {
		return false, tree.Verdict{Take: p != ".attest", Descend: p != ".attest"}
	}}
	found, err := w.Walk(e.t.Context(), "", false, tree.Verdict{})
	e.must(err)
	return found
}

func (e *editor) compare(when string) {
	e.t.Helper()
	found := e.found()
	e.cache.load()
	files := 0
	for _, entry := range found.Entries {
		if entry.Kind == tree.File {
			files++
		}
	}
	e.looks += files
	e.known += files - e.cache.recall(found)
	e.must(e.cache.Sum(e.t.Context(), found))
	want := e.found().Entries
	e.must(tree.Hasher{}.Sum(e.t.Context(), e.root, "", want))
	if !slices.Equal(found.Entries, want) {
		for i := range want {
			if i < len(found.Entries) && found.Entries[i] != want[i] {
				e.t.Fatalf("%s: %+v, want %+v", when, found.Entries[i], want[i])
			}
		}
		e.t.Fatalf("%s: %d entries, want %d", when, len(found.Entries), len(want))
	}
}
