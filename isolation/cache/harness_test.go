// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// world is a cache and what is needed to use it.
type world struct {
	t   *testing.T
	dir string
	*cache.Store

	mu       sync.Mutex
	warnings []error
}

// newWorld opens a cache in a folder of its own.
func newWorld(t *testing.T, o cache.Options) *world {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "cache")
	}
	w := &world{t: t, dir: o.Dir}
	o.Warn = func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warnings = append(w.warnings, err)
	}
	var err error
	if w.Store, err = cache.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// warned returns how often there was a warning since it was last asked.
func (w *world) warned() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.warnings)
	w.warnings = nil
	return n
}

// files are what a step leaves: content by path. A path that ends with a slash
// is an empty folder, a content that begins with "-> " a symbolic link.
type files map[string]string

// result makes a Result of the files, which are written to a folder.
func result(t *testing.T, name string, f files) (cache.Result, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for path, content := range f {
		writeTo(t, dir, path, content)
	}
	return resultOf(t, name, dir)
}

func writeTo(t *testing.T, dir, path, content string) {
	t.Helper()
	full := filepath.Join(dir, path)
	var err error
	switch target, link := cutPrefix(content, "-> "); {
	case path[len(path)-1] == '/':
		err = os.MkdirAll(full, 0o755)
	case link:
		err = errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.Symlink(target, full))
	default:
		err = errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// resultOf makes a Result of what is in a folder.
func resultOf(t testing.TB, name, dir string) (cache.Result, *os.Root) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	outputs, err := tree.Hasher{SHA256: true}.Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := tree.New([]tree.Entry{{Path: "in/" + name, Kind: tree.File, Perm: 0o644, Size: 1, Digest: digest.Of([]byte(name))}})
	if err != nil {
		t.Fatal(err)
	}
	doc := documentOf(name, inputs)
	return cache.Result{
		Key: digest.Of(doc), Document: doc, Inputs: inputs, Outputs: outputs, Facts: []byte("facts of " + name),
	}, root
}

func documentOf(name string, inputs tree.Tree) []byte {
	return fmt.Appendf(nil, `{"inputs":%q,"step":%q}`, inputs.Digest(), name)
}

// put stores a step that leaves the files.
func (w *world) put(name string, f files) cache.Result {
	w.t.Helper()
	r, from := result(w.t, name, f)
	if err := w.Put(w.t.Context(), r, from); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// restore returns the folder that the result of a key was restored to.
func (w *world) restore(key digest.Digest) (string, error) {
	w.t.Helper()
	e, err := w.Get(w.t.Context(), key)
	if err != nil {
		return "", err
	}
	dir := w.t.TempDir()
	into, err := os.OpenRoot(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer into.Close()
	return dir, w.Restore(w.t.Context(), e, into)
}

// mustHave makes sure that a result is there, and is what it was.
func (w *world) mustHave(r cache.Result, from string) {
	w.t.Helper()
	dir, err := w.restore(r.Key)
	if err != nil {
		w.t.Fatalf("%s: %v (warnings: %v)", r.Document, err, w.warnings)
	}
	if diff := cmp.Diff(snapshot(w.t, from), snapshot(w.t, dir)); diff != "" {
		w.t.Errorf("restored (-want +got):\n%s", diff)
	}
}

// mustMiss makes sure that a result is not there.
func (w *world) mustMiss(r cache.Result) {
	w.t.Helper()
	if _, err := w.Get(w.t.Context(), r.Key); !errors.Is(err, cache.ErrMiss) {
		w.t.Errorf("%s: got %v, want a miss", r.Document, err)
	}
}

// snapshot describes everything below a folder: folders and exact permissions
// included, times not.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += " " + string(content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " " + target
		}
		all[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stored returns the paths of all files in the cache whose path matches,
// relative to it.
func (w *world) stored(pattern string) []string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, pattern))
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// growOld has nobody use the cache for two days, and tidies it.
func (w *world) growOld(c *clock) cache.Freed {
	w.t.Helper()
	c.forward(48 * time.Hour)
	freed, err := w.GC(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return freed
}

// counted is what the cache should have counted: all that stands on the disk but
// its own folders and the small files beside them.
func (w *world) counted() (size int64) {
	w.t.Helper()
	for _, dir := range []string{"outputs", "receipts", "metadata"} {
		if info, err := os.Stat(filepath.Join(w.dir, dir)); err == nil && info.IsDir() {
			size += usage(w.t, filepath.Join(w.dir, dir)) - 4096
		}
	}
	if info, err := os.Stat(filepath.Join(w.dir, "metadata/last")); err == nil && info.IsDir() {
		size -= 4096
	}
	return size
}

// mustCount makes sure that the cache knows what it takes of the disk, to the byte.
func (w *world) mustCount() {
	w.t.Helper()
	want := w.counted()
	if st, err := w.Stats(w.t.Context()); err != nil || st.Size != want {
		w.t.Errorf("Stats say %d bytes, it takes %d, %v", st.Size, want, err)
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, "size")); err != nil || string(text) != fmt.Sprintf("%020d\n", want) {
		w.t.Errorf("size says %q, it takes %d, %v", text, want, err)
	}
}

// clock is a time that a test sets forward.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// done is a context that has ended, and why.
func done(t *testing.T) (context.Context, error) {
	t.Helper()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	return ctx, why
}
