// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// all takes everything.
func all(root *os.Root) *tree.Walker[int] {
	return &tree.Walker[int]{Root: root, Child: func(_ string, isDir bool, depth int) (int, tree.Verdict) {
		return depth + 1, tree.Verdict{Take: true, Descend: isDir}
	}}
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// TestWalkerFindsWhatIsThere compares a walk with the standard library's, in a
// project with folders of many files, empty ones, and names around the slash.
func TestWalkerFindsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 1500 {
		names = append(names, fmt.Sprintf("many/f%d", i))
	}
	for i := range 200 {
		names = append(names, fmt.Sprintf("d%d/e%d/f", i%17, i))
	}
	names = append(names, "a/b", "a-b", "a.b", "a0", "many!/x", "many0", " ", "\xff\n/x")
	for _, name := range names {
		full := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(name), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"b", "b-/empty", "many/empty"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("many", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{"", "many", "d3"} {
		var entries []tree.Entry
		var stats []tree.Stat
		err := filepath.WalkDir(filepath.Join(dir, base), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(filepath.Join(dir, base), p)
			if below, _ := os.ReadDir(p); rel == "." || d.IsDir() && len(below) > 0 {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			e, err := tree.EntryOf(rel, info)
			entries, stats = append(entries, e), append(stats, tree.StatOf(info))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		order := make([]int, len(entries))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return strings.Compare(entries[a].Path, entries[b].Path) })
		w := all(openRoot(t, dir))
		w.Base = base
		got, err := w.Walk(t.Context(), "", 0, tree.Verdict{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != len(order) {
			t.Fatalf("%q: %d entries, want %d", base, got.Len(), len(order))
		}
		for i, k := range order {
			if got.Entries[i] != entries[k] || got.Entries[i].Kind == tree.File && got.Stats[i] != stats[k] {
				t.Errorf("%q: %+v %+v, want %+v %+v", base, got.Entries[i], got.Stats[i], entries[k], stats[k])
			}
		}
	}
}

// TestWalkerBeginsBelow begins at a folder that a rule knows something of.
func TestWalkerBeginsBelow(t *testing.T) {
	_, root := project(t)
	var entered atomic.Int64
	w := all(root)
	w.Enter = func(dir string, items []tree.Item, depth int) (int, error) {
		entered.Add(1)
		if want := map[string]string{"deep": "er", "deep/er": "bad\xff\n", "empty": ""}[dir]; len(items) > 0 && items[0].Name != want {
			t.Errorf("in %q stands %q", dir, items[0].Name)
		}
		if wantDepth := strings.Count(dir, "/") + 7; depth != wantDepth {
			t.Errorf("in %q the rule knows %d, want %d", dir, depth, wantDepth)
		}
		return depth, nil
	}
	walk := func(from string, v tree.Verdict, want ...string) {
		t.Helper()
		found, err := w.Walk(t.Context(), from, 7, v)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range found.Entries {
			got = append(got, e.Path)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	walk("deep", tree.Verdict{Take: true}, "deep/er/bad\xff\n")
	walk("empty", tree.Verdict{Take: true}, "empty")
	walk("empty", tree.Verdict{})
	walk("gone", tree.Verdict{Take: true})
	if n := entered.Load(); n != 4 {
		t.Errorf("%d folders entered", n)
	}
	if _, err := w.Walk(t.Context(), "to-bin", 7, tree.Verdict{}); err == nil {
		t.Error("a link was followed")
	}
	w.Enter = func(string, []tree.Item, int) (int, error) { return 0, fs.ErrInvalid }
	if _, err := w.Walk(t.Context(), "deep", 7, tree.Verdict{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestWalkerTellsOfSpecialFiles(t *testing.T) {
	path, root := project(t)
	for _, name := range []string{"bin/b", "a", "bin/a"} {
		if err := syscall.Mkfifo(filepath.Join(path, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	w := all(root)
	w.Special = func(err *tree.SpecialFileError, depth int) { got = append(got, fmt.Sprint(err.Path, depth, err.Type)) }
	found, err := w.Walk(t.Context(), "", 0, tree.Verdict{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a1 p---------", "bin/a2 p---------", "bin/b2 p---------"}, got); d != "" {
		t.Error(d)
	}
	if found.Len() != 6 {
		t.Errorf("%d entries", found.Len())
	}
}

// TestVeryDeep has a path longer than the kernel takes in one.
func TestVeryDeep(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	name := strings.Repeat("n", 250)
	deep := strings.Repeat(name+"/", 20) + name
	if err := root.MkdirAll(deep, 0o755); err != nil {
		t.Skip("this file system has no such paths:", err)
	}
	if err := root.WriteFile(deep+"/f", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := tree.Hasher{}.Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := got.Find(deep + "/f"); got.Len() != 1 || !ok || e.Digest != digest.Of([]byte("x")) {
		t.Errorf("%d entries", got.Len())
	}
}

// TestNothingOutsideIsReached has a folder of the project replaced by a link to
// another folder, and put back, all the time.
func TestNothingOutsideIsReached(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	d := filepath.Join(dir, "d")
	must(os.Mkdir(d, 0o755), os.WriteFile(d+"/f", []byte("inside"), 0o644), os.WriteFile(d+"/g", []byte("inside"), 0o644),
		os.WriteFile(outside+"/f", []byte("secret"), 0o644), os.WriteFile(outside+"/secret", nil, 0o644),
		os.Symlink(outside, filepath.Join(dir, "l")))
	root := openRoot(t, dir)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := errors.Join(os.Rename(d, d+"-"), os.Rename(dir+"/l", d), os.Rename(d, dir+"/l"), os.Rename(d+"-", d)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	whole, broken := 0, 0
	for range 2000 {
		got, err := tree.Hasher{}.Scan(t.Context(), root, "", nil)
		if err != nil {
			broken++
			continue
		}
		whole++
		for _, e := range got.Entries() {
			if e.Digest == digest.Of([]byte("secret")) || strings.Contains(e.Path, "secret") {
				t.Fatalf("found %+v", e)
			}
		}
	}
	close(stop)
	must(<-stopped)
	t.Logf("%d walks, %d that saw a change", whole, broken)
}

// BenchmarkWalk reads a project of many files.
func BenchmarkWalk(b *testing.B) {
	dir := b.TempDir()
	for i := range 50_000 {
		sub := filepath.Join(dir, fmt.Sprintf("p%d/d%d", i/1000, i/40%25))
		if i%40 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	w := all(openRoot(b, dir))
	b.ReportAllocs()
	for b.Loop() {
		if found, err := w.Walk(b.Context(), "", 0, tree.Verdict{}); err != nil || found.Len() != 50_000 {
			b.Fatal(found.Len(), err)
		}
	}
}
