// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// mount puts a file system of its own on a new folder. Without the right to do
// so the test is skipped.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	w := newWorld(t, cache.Options{Dir: filepath.Join(mount(t, "size=512k,mode=0700"), "cache")})
	first := w.put("first", files{"out": random(100_000)})
	r, from := result(t, "large", files{"a": random(150_000), "b": "b" + random(400_000)})
	if err := w.Put(t.Context(), r, from); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if err := w.Put(t.Context(), r, from); !errors.Is(err, cache.ErrOff) {
		t.Errorf("the second time: %v", err)
	}
	w.mustMiss(r)
	if _, err := w.restore(first.Key); err != nil {
		t.Errorf("what was stored before: %v", err)
	}
	if err := w.SaveLast("p", map[string]digest.Digest{"s": r.Key}); !errors.Is(err, cache.ErrOff) {
		t.Errorf("SaveLast: %v", err)
	}
	if _, err := w.GC(t.Context()); err != nil {
		t.Errorf("GC: %v", err)
	}
	if w.warned() > 0 {
		t.Error("warned of what the caller was told")
	}
	next := newWorld(t, cache.Options{Dir: w.dir}) // the next run tries again
	next.put("small", files{"out": "1"})
}

func TestReadOnly(t *testing.T) {
	disk := mount(t, "size=4m,mode=0700")
	dir := filepath.Join(disk, "cache")
	r := newWorld(t, cache.Options{Dir: dir}).put("build", files{"out": "1"})
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, cache.Options{Dir: dir, MaxSize: 1 << 20, Retention: time.Nanosecond})
	if err := w.Maintain(t.Context()); err != nil {
		t.Errorf("Maintain: %v", err)
	}
	if _, err := w.restore(r.Key); err != nil {
		t.Errorf("a hit needs no writing: %v", err)
	}
	held, err := w.Reserve(t.Context(), r.Key, nil)
	if err != nil {
		t.Errorf("Reserve: %v", err)
	}
	held.Release()
	other, from := result(t, "other", files{"out": "2"})
	if err := w.Put(t.Context(), other, from); err == nil || errors.Is(err, cache.ErrOff) {
		t.Errorf("Put: %v", err)
	}
	if err := w.Put(t.Context(), other, from); !errors.Is(err, cache.ErrOff) {
		t.Errorf("the second Put: %v", err)
	}
	if err := w.Maintain(t.Context()); err != nil {
		t.Errorf("Maintain: %v", err)
	}
	if _, err := w.GC(t.Context()); err == nil {
		t.Error("GC could do its work")
	}
	if v, err := w.Verify(t.Context(), cache.VerifyOptions{}); err != nil || v.Results != 1 || len(v.Problems) > 0 {
		t.Errorf("Verify: %+v, %v", v, err)
	}
	if n := w.warned(); n > 0 {
		t.Errorf("%d warnings of what the caller was told", n)
	}
	nowhere := newWorld(t, cache.Options{Dir: filepath.Join(disk, "none")})
	nowhere.mustMiss(r)
	if err := nowhere.Put(t.Context(), other, from); err == nil {
		t.Error("stored on a disk that cannot be written")
	}
}

// TestDamageInReadOnly makes sure that damage which cannot be removed is a miss.
func TestDamageInReadOnly(t *testing.T) {
	disk := mount(t, "size=4m,mode=0700")
	dir := filepath.Join(disk, "cache")
	first := newWorld(t, cache.Options{Dir: dir})
	r := first.put("build", files{"out": "content"})
	blob := filepath.Join(dir, "outputs", r.Outputs.Entries()[0].Digest.Hex()[:2], r.Outputs.Entries()[0].Digest.Hex()[2:])
	spoil(t, blob, func(b []byte) []byte { b[0]++; return b })
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, cache.Options{Dir: dir})
	for range 2 {
		if _, err := w.restore(r.Key); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
	}
	if n := w.warned(); n != 2 {
		t.Errorf("%d warnings", n)
	}
}

func TestFolderThatIsNotTrusted(t *testing.T) {
	ready := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "cache")
		newWorld(t, cache.Options{Dir: dir}).put("build", files{"out": "1"})
		return dir
	}
	for name, make := range map[string]func(t *testing.T) string{
		"group may write": func(t *testing.T) string {
			dir := ready(t)
			return chmod(t, dir, 0o770)
		},
		"all may write": func(t *testing.T) string { return chmod(t, ready(t), 0o702) },
		"another owner": func(t *testing.T) string {
			dir := ready(t)
			if err := os.Chown(dir, 12345, -1); err != nil {
				t.Skip(err)
			}
			return dir
		},
		"a link": func(t *testing.T) string {
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(ready(t), link); err != nil {
				t.Fatal(err)
			}
			return link
		},
		"a file": func(t *testing.T) string {
			dir := t.TempDir()
			writeTo(t, dir, "cache", "I am a file")
			return filepath.Join(dir, "cache")
		},
		"somebody's folder": func(t *testing.T) string {
			dir := chmod(t, t.TempDir(), 0o700)
			writeTo(t, dir, "outputs/thesis.tex", "three years of work")
			return dir
		},
		"another program's cache": func(t *testing.T) string {
			dir := chmod(t, t.TempDir(), 0o700)
			writeTo(t, dir, "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# cargo\n")
			return dir
		},
		"a relative path": func(t *testing.T) string { return "cache" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := make(t)
			s, err := cache.Open(cache.Options{Dir: dir})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if filepath.IsAbs(dir) && !errors.Is(err, cache.ErrUnsafe) {
				t.Errorf("got %v", err)
			}
			if strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func chmod(t *testing.T, dir string, mode os.FileMode) string {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUnsafeOnlyNow has a folder become unsafe between opening, when it was not
// there, and the first use.
func TestUnsafeOnlyNow(t *testing.T) {
	w := newWorld(t, cache.Options{})
	r, from := result(t, "build", files{"out": "1"})
	writeTo(t, w.dir, "mine", "not a cache")
	if err := w.Put(t.Context(), r, from); !errors.Is(err, cache.ErrUnsafe) {
		t.Errorf("got %v", err)
	}
	if err := w.Put(t.Context(), r, from); !errors.Is(err, cache.ErrOff) {
		t.Errorf("got %v", err)
	}
	if names := w.stored("*"); len(names) != 1 {
		t.Errorf("the folder holds %q", names)
	}
}

// TestFolderWithInputsOnly is what stands there after a run that remembered
// digests of inputs before there was a result.
func TestFolderWithInputsOnly(t *testing.T) {
	w := newWorld(t, cache.Options{})
	writeTo(t, w.dir, "inputs/known", "digests")
	r := w.put("build", files{"out": "1"})
	if _, err := w.restore(r.Key); err != nil {
		t.Error(err)
	}
}

// TestPlantedLinks puts symbolic links to a victim's folder wherever the cache
// has a folder or a file. Nothing there is read, written or removed.
func TestPlantedLinks(t *testing.T) {
	for _, where := range []string{
		"outputs", "receipts", "metadata", "metadata/last", "locks", "lock", "size", "tidied",
		"outputs/*", "receipts/*", "metadata/??", "outputs/*/*", "receipts/*/*", "metadata/*/*", "metadata/last/*",
	} {
		t.Run(strings.ReplaceAll(where, "/", "-"), func(t *testing.T) {
			w := newWorld(t, cache.Options{})
			r, from := result(t, "build", files{"out": "1", "other": "2"})
			store := func(w *world) {
				_ = w.Put(t.Context(), r, from)
				_ = w.SaveLast("p", map[string]digest.Digest{"build": r.Key})
			}
			store(w)
			if _, err := w.GC(t.Context()); err != nil {
				t.Fatal(err)
			}
			writeTo(t, w.dir, "locks/"+r.Key.Hex(), "")
			victim := t.TempDir()
			for _, p := range w.stored(where) {
				aim := filepath.Join(victim, strings.ReplaceAll(strings.TrimPrefix(p, w.dir), "/", "_"))
				if err := errors.Join(os.Rename(p, aim), os.Symlink(aim, p)); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, victim)
			if len(before) == 0 {
				t.Fatalf("nothing is at %s", where)
			}
			again := newWorld(t, cache.Options{Dir: w.dir, Retention: time.Nanosecond, MaxSize: 1 << 20, Compress: true})
			if _, err := again.restore(r.Key); err != nil && !errors.Is(err, cache.ErrMiss) {
				t.Error(err)
			} else if err == nil && (strings.HasPrefix(where, "outputs") || strings.HasPrefix(where, "receipts")) {
				t.Error("a hit through a link")
			}
			held, err := again.Reserve(t.Context(), r.Key, nil)
			if err != nil {
				t.Error(err)
			}
			store(again)
			held.Release()
			_ = again.Maintain(t.Context())
			_, _ = again.GC(t.Context())
			_, _ = again.Verify(t.Context(), cache.VerifyOptions{Repair: true})
			_, _ = again.Stats(t.Context())
			_, _ = again.Clear(t.Context())
			after := snapshot(t, victim)
			for p, what := range before {
				if after[p] != what {
					t.Errorf("%s was %q and is %q", p, what, after[p])
				}
			}
			for p := range after {
				if _, ok := before[p]; !ok {
					t.Errorf("%s was written", p)
				}
			}
		})
	}
}

// TestPlantedFIFO makes sure that nothing waits for a writer who never comes.
func TestPlantedFIFO(t *testing.T) {
	w := newWorld(t, cache.Options{})
	r := w.put("build", files{"out": "1"})
	for _, pattern := range []string{"outputs/*/*", "receipts/*/*", "metadata/*/*"} {
		for _, p := range w.stored(pattern) {
			if err := errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.mustMiss(r)
	if _, err := w.Document(r.Key); err == nil {
		t.Error("a FIFO is a document")
	}
	if _, err := w.Listing(t.Context(), r.Inputs.Digest()); err == nil {
		t.Error("a FIFO is a listing")
	}
	if v, err := w.Verify(t.Context(), cache.VerifyOptions{Repair: true}); err != nil || len(v.Problems) < 3 {
		t.Errorf("%+v, %v", v, err)
	}
	again := w.put("build", files{"out": "1"})
	if _, err := w.restore(again.Key); err != nil {
		t.Error(err)
	}
}
