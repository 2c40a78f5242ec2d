// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/engine"
)

// editsEnv asks for more edits than a test run has time for.
const editsEnv = "ATTEST_EDITS"

// TestRandomEdits edits a tree at random, runs after every edit, and compares
// the decision with that of an oracle that reads everything, and the output
// with what the inputs say it must be.
func TestRandomEdits(t *testing.T) {
	edits := 1000
	if testing.Short() {
		edits = 200
	}
	if n, err := strconv.Atoi(os.Getenv(editsEnv)); err == nil {
		edits = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d edits", seed, edits)

	var ran bool
	p := newProject(t, "steps: {s: {run: x, inputs: [src/, '!src/**/stray'], outputs: [out]}}\n", nil, nil)
	p.options.NoCache = false
	all := inMemory{"s": func(_ context.Context, j job) (int, error) {
		ran = true
		return 0, j.put("out", oracle(t, p.path("src")))
	}}
	for level := range p.options.Executors {
		p.options.Executors[level] = all
	}
	e := newEditor(t, p.path("src"), seed)
	known := map[string]bool{}
	for i := range edits {
		what := e.edit()
		state := oracle(t, p.path("src"))
		ran = false
		rec, err := engine.Run(context.Background(), p.options)
		if err != nil {
			t.Fatalf("edit %d, %s: %v", i, what, err)
		}
		if want := !known[state]; ran != want || (rec.Receipt.Steps[0].Cache == receipt.Miss) != want {
			t.Fatalf("edit %d, %s: ran %v, cache %s; the oracle wants it to run: %v", i, what, ran, rec.Receipt.Steps[0].Cache, want)
		}
		if got := p.read("out"); got != state {
			t.Fatalf("edit %d, %s: the output is that of other inputs", i, what)
		}
		if diff := cmp.Diff(fmt.Sprint(namedAfresh(t, p.dir)), fmt.Sprint(rec.Receipt.Steps[0].Inputs)); diff != "" {
			t.Fatalf("edit %d, %s: the receipt names the inputs wrongly: %s", i, what, diff)
		}
		known[state] = true
		if e.rand.IntN(4) == 0 {
			if err := os.Remove(p.path("out")); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d different states", len(known))
}

// namedAfresh is how a receipt names the inputs, worked out by reading all of
// the project.
func namedAfresh(t *testing.T, dir string) []receipt.Path {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err := tree.Hasher{}.Scan(t.Context(), root, "", func(p string, isDir bool) bool {
		return p != "src" && !strings.HasPrefix(p, "src/") || path.Base(p) == "stray"
	})
	if err != nil {
		t.Fatal(err)
	}
	paths, err := receipt.Cover(files, func(dir string) (names []string, err error) {
		items, err := fs.ReadDir(root.FS(), dir)
		for _, item := range items {
			names = append(names, item.Name())
		}
		return names, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// oracle says what a folder holds, having read all of it, in the terms of
// evidence: names, kinds, the execute bit, content.
func oracle(t *testing.T, dir string) string {
	t.Helper()
	var text string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "stray" {
			return nil
		}
		content, kind := "", "d"
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			kind = "l"
			content, err = os.Readlink(path)
		case d.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			info, statErr := d.Info()
			if err = errors.Join(err, statErr); err == nil {
				content, kind = string(data), fmt.Sprint("f", info.Mode()&0o100)
			}
		default:
			items, readErr := os.ReadDir(path)
			items = slices.DeleteFunc(items, func(d fs.DirEntry) bool { return d.Name() == "stray" })
			if err = readErr; len(items) > 0 {
				return err // it follows from what is in it
			}
		}
		text += fmt.Sprintf("%s %q %q\n", kind, path[len(dir):], content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return digest.Of([]byte(text)).Hex()
}

// editor changes a folder at random.
type editor struct {
	t    *testing.T
	dir  string
	rand *rand.Rand
}

func newEditor(t *testing.T, dir string, seed uint64) *editor {
	e := &editor{t, dir, rand.New(rand.NewPCG(seed, 0))}
	e.do(os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o755))
	for i := range 12 {
		e.do(os.WriteFile(e.name(i), []byte(strconv.Itoa(i)), 0o644))
	}
	return e
}

func (e *editor) do(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) name(i int) string {
	return filepath.Join(e.dir, []string{"", "sub", "sub/deep"}[i%3], fmt.Sprint("f", i))
}

// pick returns a place, and what stands there; nil for nothing.
func (e *editor) pick() (string, fs.FileInfo) {
	name := e.name(e.rand.IntN(15))
	info, err := os.Lstat(name)
	if err != nil {
		return name, nil
	}
	return name, info
}

// edit makes one change, and says which. Contents are few, so that states come
// back.
func (e *editor) edit() string {
	name, info := e.pick()
	content := strconv.Itoa(e.rand.IntN(10))
	what := [...]string{"write", "rewrite with the times put back", "mode", "rename", "link", "remove", "replace", "append", "times", "nothing", "swap", "folder", "stray"}[e.rand.IntN(13)]
	regular := info != nil && info.Mode().IsRegular()
	switch {
	case what == "nothing":
	case what == "stray":
		stray := filepath.Join(filepath.Dir(name), "stray")
		if os.Remove(stray) != nil {
			e.do(os.WriteFile(stray, nil, 0o644))
		}
	case info == nil || what == "write" && !regular, what == "replace":
		if info != nil {
			e.do(os.RemoveAll(name))
		}
		e.do(os.WriteFile(name, []byte(content), 0o644))
	case what == "link":
		e.do(os.RemoveAll(name))
		e.do(os.Symlink(content, name))
	case what == "remove":
		e.do(os.RemoveAll(name))
	case what == "folder":
		e.do(os.RemoveAll(name))
		e.do(os.Mkdir(name, 0o755))
	case what == "rename", what == "swap":
		other, _ := e.pick()
		if other == name {
			break
		}
		spare := filepath.Join(e.dir, "spare")
		_, err := os.Lstat(other)
		if err == nil {
			e.do(os.Rename(other, spare))
		}
		e.do(os.Rename(name, other))
		if err == nil && what == "swap" {
			e.do(os.Rename(spare, name))
		} else if err == nil {
			e.do(os.RemoveAll(spare))
		}
	case !regular:
	case what == "write":
		e.do(os.WriteFile(name, []byte(content), 0o644))
	case what == "rewrite with the times put back":
		e.do(os.WriteFile(name, []byte(content), 0o644))
		e.do(os.Chtimes(name, info.ModTime(), info.ModTime()))
	case what == "mode":
		e.do(os.Chmod(name, []fs.FileMode{0o644, 0o755, 0o600, 0o700}[e.rand.IntN(4)]))
	case what == "append":
		data, err := os.ReadFile(name)
		e.do(err)
		e.do(os.WriteFile(name, append(data[:min(len(data), 2)], content...), 0o644))
	case what == "times":
		e.do(os.Chtimes(name, info.ModTime().Add(-1e9), info.ModTime().Add(-1e9)))
	}
	return fmt.Sprintf("%s %s %s", what, name[len(e.dir):], content)
}
