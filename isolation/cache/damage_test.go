// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// mixed returns text of which half can be compressed, the same in every run.
func mixed(n int) string { return strings.Repeat("text ", n/10) + random(n/2) }

// random returns text that cannot be compressed, the same in every run.
func random(n int) string {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return string(b)
}

func spoil(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err := errors.Join(err, os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ways in which a file can be damaged.
func ways() map[string]func(t *testing.T, path string) {
	flip := func(at func(n int) int) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			spoil(t, path, func(b []byte) []byte { b[at(len(b))] ^= 0x10; return b })
		}
	}
	return map[string]func(t *testing.T, path string){
		"first byte flipped": flip(func(int) int { return 0 }),
		"middle flipped":     flip(func(n int) int { return n / 2 }),
		"last byte flipped":  flip(func(n int) int { return n - 1 }),
		"cut by one":         func(t *testing.T, p string) { spoil(t, p, func(b []byte) []byte { return b[:len(b)-1] }) },
		"cut in half":        func(t *testing.T, p string) { spoil(t, p, func(b []byte) []byte { return b[:len(b)/2] }) },
		"emptied":            func(t *testing.T, p string) { spoil(t, p, func([]byte) []byte { return nil }) },
		"longer":             func(t *testing.T, p string) { spoil(t, p, func(b []byte) []byte { return append(b, 'x') }) },
		"zeros":              func(t *testing.T, p string) { spoil(t, p, func(b []byte) []byte { return make([]byte, len(b)) }) },
		"removed": func(t *testing.T, p string) {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(t *testing.T, p string) {
			if err := errors.Join(os.Remove(p), os.Mkdir(p, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"a link to elsewhere": func(t *testing.T, p string) {
			other := filepath.Join(t.TempDir(), "other")
			if err := errors.Join(os.Rename(p, other), os.Chmod(other, 0o600), os.WriteFile(other, []byte("planted"), 0o600), os.Symlink(other, p)); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// scene is a small cache with everything that a cache can hold: all content as it
// was stored, or old, so that some of it is compressed.
func scene(t *testing.T, old bool) (w *world, results []cache.Result, dirs []string) {
	t.Helper()
	c := newClock()
	w = newWorld(t, cache.Options{Compress: true, Now: c.now})
	for name, f := range map[string]files{
		"build": {"dist/a.js": "console.log(1)\n", "dist/b": strings.Repeat("text ", 20_000), "link": "-> dist"},
		"test":  {"report": "fine\n", "data": random(300_000)},
	} {
		dir := t.TempDir()
		for path, content := range f {
			writeTo(t, dir, path, content)
		}
		r, from := resultOf(t, name, dir)
		r.LogFile = filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(r.LogFile, []byte("log of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.Put(t.Context(), r, from); err != nil {
			t.Fatal(err)
		}
		results, dirs = append(results, r), append(dirs, dir)
	}
	if old {
		w.growOld(c)
	}
	if n := len(w.stored("outputs/*/*.zst")); old != (n == 1) {
		t.Fatalf("%d files are compressed", n)
	}
	return w, results, dirs
}

// TestEveryFileDamaged damages each file of a cache in turn, in every way. What
// comes out is right or does not come out, a step that is done again is kept
// again, and nothing is left of the damage.
func TestEveryFileDamaged(t *testing.T) {
	w, _, _ := scene(t, true)
	count := len(w.stored("outputs/*/*")) + len(w.stored("receipts/*/*")) + len(w.stored("metadata/*/*"))
	if count != 8+2+2 { // four contents, two logs and two listings; entries; documents
		t.Fatalf("the scene has %d files", count)
	}
	for way, damage := range ways() {
		t.Run(way, func(t *testing.T) {
			for i := range count {
				damageOne(t, i, way, damage)
			}
			damageOne(t, verbatim, way, damage)
		})
	}
}

// verbatim is the number of the file that scene compresses, as it was stored.
const verbatim = -1

// victimOf returns a scene and one of its files: each has a number.
func victimOf(t *testing.T, i int) (w *world, results []cache.Result, dirs []string, victim string) {
	t.Helper()
	w, results, dirs = scene(t, i != verbatim)
	if i == verbatim {
		hex := digest.Of([]byte(strings.Repeat("text ", 20_000))).Hex()
		return w, results, dirs, filepath.Join(w.dir, "outputs", hex[:2], hex[2:])
	}
	all := append(append(w.stored("outputs/*/*"), w.stored("receipts/*/*")...), w.stored("metadata/*/*")...)
	return w, results, dirs, all[i]
}

func damageOne(t *testing.T, i int, way string, damage func(*testing.T, string)) {
	w, results, dirs, victim := victimOf(t, i)
	damage(t, victim)
	misses := 0
	for k, r := range results {
		if err := readLog(t, w, r); err != nil && !strings.Contains(victim, "/outputs/") && !strings.Contains(victim, "/receipts/") {
			t.Errorf("%s: the log: %v", victim, err)
		}
		w.warned()
		_, err := w.restore(r.Key)
		if err == nil {
			continue
		}
		if !errors.Is(err, cache.ErrMiss) {
			t.Errorf("%s: %v", victim, err)
		}
		misses++
		warned := w.warned()
		// An entry that is not there is a miss like any other.
		if inEntry := strings.Contains(victim, "/receipts/"); warned != 1 && !inEntry || warned > 0 && way == "removed" && inEntry {
			t.Errorf("%s: %d warnings", victim, warned)
		}
		from, err := os.OpenRoot(dirs[k])
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Put(t.Context(), r, from), from.Close()); err != nil {
			t.Errorf("%s: storing it again: %v", victim, err)
		}
	}
	for k, r := range results {
		w.mustHave(r, dirs[k])
	}
	if n := w.warned(); n > 0 {
		t.Errorf("%s: %d warnings after everything was stored again", victim, n)
	}
	if misses > 1 {
		t.Errorf("%s: one file made %d results useless", victim, misses)
	}
}

// readLog reads the log of a result, which must be right if there is no error.
func readLog(t *testing.T, w *world, r cache.Result) error {
	t.Helper()
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		return nil
	}
	log, err := w.Log(t.Context(), e)
	if err != nil {
		return err
	}
	defer log.Close()
	got, err := io.ReadAll(log)
	if err == nil && digest.Of(got) != e.Log.Digest {
		t.Errorf("the log reads %q", got)
	}
	return err
}

// TestVerifyFindsDamage damages each file in turn: Verify names it, repairs it,
// and finds nothing the second time.
func TestVerifyFindsDamage(t *testing.T) {
	for way, damage := range ways() {
		t.Run(way, func(t *testing.T) {
			for i := verbatim; i < 12; i++ {
				w, results, _, victim := victimOf(t, i)
				if v, err := w.Verify(t.Context(), cache.VerifyOptions{}); err != nil || len(v.Problems) > 0 || v.Results != 2 || v.Blobs == 0 || v.Bytes == 0 {
					t.Fatalf("an undamaged cache: %+v, %v", v, err)
				}
				damage(t, victim)
				look, err := w.Verify(t.Context(), cache.VerifyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				// Of what is simply not there, Verify names what something else
				// needs; the reading below shows that there is nothing more.
				if len(look.Problems) == 0 && way != "removed" {
					t.Errorf("%s: nothing found", victim)
				}
				fixed, err := w.Verify(t.Context(), cache.VerifyOptions{Repair: true})
				if err != nil || len(fixed.Problems) != len(look.Problems) {
					t.Errorf("%s: repaired %+v of %+v, %v", victim, fixed.Problems, look.Problems, err)
				}
				for _, p := range fixed.Problems {
					if !p.Repaired {
						t.Errorf("%s: not repaired: %+v", victim, p)
					}
				}
				if again, err := w.Verify(t.Context(), cache.VerifyOptions{}); err != nil || len(again.Problems) > 0 {
					t.Errorf("%s: after the repair %+v, %v", victim, again.Problems, err)
				}
				for _, r := range results {
					if err := readLog(t, w, r); err != nil {
						t.Errorf("%s: the log after the repair: %v", victim, err)
					}
					if _, err := w.restore(r.Key); err != nil && !errors.Is(err, cache.ErrMiss) {
						t.Error(err)
					}
				}
				if n := w.warned(); n > 0 {
					t.Errorf("%s: %d warnings after the repair", victim, n)
				}
			}
		})
	}
}

func TestSwappedBlobs(t *testing.T) {
	w := newWorld(t, cache.Options{})
	one, two := w.put("one", files{"out": "content 1"}), w.put("two", files{"out": "content 2"})
	blob := func(r cache.Result) string {
		hex := r.Outputs.Entries()[0].Digest.Hex()
		return filepath.Join(w.dir, "outputs", hex[:2], hex[2:])
	}
	spare := filepath.Join(t.TempDir(), "spare")
	if err := errors.Join(os.Rename(blob(one), spare), os.Rename(blob(two), blob(one)), os.Rename(spare, blob(two))); err != nil {
		t.Fatal(err)
	}
	for _, r := range []cache.Result{one, two} {
		if _, err := w.restore(r.Key); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
	}
	if n := w.warned(); n != 2 {
		t.Errorf("%d warnings", n)
	}
}

// TestEntryOfAnotherKey copies an entry to the name of another key.
func TestEntryOfAnotherKey(t *testing.T) {
	w := newWorld(t, cache.Options{})
	one, two := w.put("one", files{"out": "content 1"}), w.put("two", files{"out": "content 2"})
	entry := func(r cache.Result) string {
		hex := r.Key.Hex()
		return filepath.Join(w.dir, "receipts", hex[:2], hex[2:])
	}
	other, err := os.ReadFile(entry(two))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(entry(one), other, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustMiss(one)
	if n := w.warned(); n != 1 {
		t.Errorf("%d warnings", n)
	}
	w.mustMiss(one)
	if n := w.warned(); n != 0 {
		t.Errorf("%d warnings about what is gone", n)
	}
	if _, err := w.restore(two.Key); err != nil {
		t.Errorf("the other's own: %v", err)
	}
}

// TestBomb puts a blob in the place of another that is small on disk and endless
// when it is read.
func TestBomb(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	r := w.put("build", files{"out": strings.Repeat("fine ", 10_000)})
	w.growOld(c)
	path := w.stored("outputs/*/*.zst")[0]
	var bomb bytes.Buffer
	enc, err := zstd.NewWriter(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 1024 {
		if _, err := enc.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bomb.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	into, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	if err := w.Restore(t.Context(), e, into); !errors.Is(err, cache.ErrMiss) || !errors.Is(err, cas.ErrDamaged) {
		t.Errorf("got %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "out"))
	if err != nil || info.Size() > 50_000 {
		t.Errorf("%d bytes of it were written, %v", info.Size(), err)
	}
}
