// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// hostile is every name that a file system allows and a program may stumble
// over, with every kind and mode.
func hostile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range (files{
		"plain": "1\n", "empty": "", "-n": "dash", "a b": "space", "tab\there": "t", "line\nbreak": "n",
		"cr\rhere": "r", "\xff\xfe": "not UTF-8", "é": "composed", "e\u0301": "decomposed", "5:x": "looks like a length",
		strings.Repeat("l", 255): "long", "deep/" + strings.Repeat("d/", 60) + "x": "deep",
		"same1": "same content", "same2": "same content", "..dots": "d", "tmp-x": "t", "dir/exec": "#!/bin/sh\n",
		"empty folder/": "", "dir/none/": "", "large": strings.Repeat("large ", 300_000),
		"random": random(600_000), "link": "-> plain", "dangling": "-> nowhere", "absolute": "-> /etc/passwd",
		"up": "-> ../../../..", "slash": "-> dir/", "odd link": "-> a\n\xffb:c ", "loop": "-> loop",
	}) {
		writeTo(t, dir, path, content)
	}
	for path, mode := range map[string]fs.FileMode{
		"dir/exec": 0o755, "plain": 0o600, "a b": 0o400, "-n": 0o777, "é": 0o444, "empty": 0o640, "same1": 0o711,
		"dir": 0o750, "empty folder": 0o700, "dir/none": 0o555, "deep": 0o500,
	} {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "deep"), 0o700) })
	return dir
}

func TestRestoreIsBitForBit(t *testing.T) {
	for name, compress := range map[string]bool{"verbatim": false, "compressed": true} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			w := newWorld(t, cache.Options{Compress: compress, Now: c.now})
			dir := hostile(t)
			r, from := resultOf(t, "build", dir)
			if err := w.Put(t.Context(), r, from); err != nil {
				t.Fatal(err)
			}
			w.growOld(c)
			w.mustHave(r, dir)
			packed := w.stored("outputs/*/*.zst")
			if compress != (len(packed) > 0) {
				t.Errorf("%d blobs are compressed", len(packed))
			}
			e, err := w.Get(t.Context(), r.Key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.Outputs.Entries(), e.Outputs.Entries(), cmp.AllowUnexported(digest.Digest{})); diff != "" {
				t.Errorf("outputs (-put +got):\n%s", diff)
			}
			if string(e.Facts) != string(r.Facts) {
				t.Errorf("facts are %q", e.Facts)
			}
			if n := w.warned(); n > 0 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}

// TestForms makes sure that what was stored with the one setting is found with
// the other, and not stored twice.
func TestForms(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, dir, "text", strings.Repeat("compress me ", 10_000))
	c := newClock()
	first := newWorld(t, cache.Options{Compress: true, Now: c.now})
	r, from := resultOf(t, "build", dir)
	if err := first.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	if freed := first.growOld(c); freed.Packed != 1 {
		t.Errorf("freed %+v", freed)
	}
	second := newWorld(t, cache.Options{Dir: first.dir})
	second.mustHave(r, dir)
	again, _ := resultOf(t, "other", dir)
	if err := second.Put(t.Context(), again, from); err != nil {
		t.Fatal(err)
	}
	second.mustHave(again, dir)
	if got := second.stored("outputs/*/*"); len(got) != 3 { // the text, two listings
		t.Errorf("stored %q", got)
	}
}

func TestMissAndFirstUse(t *testing.T) {
	w := newWorld(t, cache.Options{})
	w.mustMiss(cache.Result{Key: digest.Of([]byte("x"))})
	w.mustMiss(cache.Result{})
	w.mustMiss(cache.Result{Key: digest.OfSHA256([]byte("x"))})
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("asking made a folder")
	}
	st, err := w.Stats(t.Context())
	if err != nil || st.Results != 0 || st.Size != 0 {
		t.Errorf("stats of nothing: %+v, %v", st, err)
	}
	for _, do := range []func() error{
		func() error { return w.Maintain(t.Context()) },
		func() error { _, err := w.GC(t.Context()); return err },
		func() error { _, err := w.Clear(t.Context()); return err },
		func() error { _, err := w.Verify(t.Context(), cache.VerifyOptions{Repair: true}); return err },
	} {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("tidying made a folder")
	}
	w.put("build", files{"out": "1"})
	info, err := os.Stat(w.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	if w.warned() > 0 {
		t.Error("a miss is no reason to warn")
	}
}

// TestOutputsAreNotShared makes sure that changing what was stored, or what was
// restored, in place does not change what is in the cache.
func TestOutputsAreNotShared(t *testing.T) {
	w := newWorld(t, cache.Options{})
	dir := t.TempDir()
	writeTo(t, dir, "out", "right")
	r, from := resultOf(t, "build", dir)
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	restored, err := w.restore(r.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, restored} {
		if err := os.WriteFile(filepath.Join(d, "out"), []byte("wrong"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := t.TempDir()
	writeTo(t, want, "out", "right")
	w.mustHave(r, want)
}

func TestPutRefusesWhatIsNotWhatItSays(t *testing.T) {
	for name, spoil := range map[string]func(r *cache.Result, dir string){
		"changed":   func(_ *cache.Result, dir string) { writeTo(t, dir, "out", "other") },
		"longer":    func(_ *cache.Result, dir string) { writeTo(t, dir, "out", "right and more") },
		"shorter":   func(_ *cache.Result, dir string) { writeTo(t, dir, "out", "r") },
		"gone":      func(_ *cache.Result, dir string) { _ = os.Remove(filepath.Join(dir, "out")) },
		"wrong key": func(r *cache.Result, _ string) { r.Key = digest.Of([]byte("another")) },
		"a link to the same": func(_ *cache.Result, dir string) {
			_ = os.Rename(filepath.Join(dir, "out"), filepath.Join(dir, "moved"))
			writeTo(t, dir, "out", "-> moved")
		},
		"facts": func(r *cache.Result, _ string) { r.Facts = make([]byte, 65<<20) },
		"log":   func(r *cache.Result, dir string) { r.LogFile = filepath.Join(dir, "no.log") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cache.Options{})
			dir := t.TempDir()
			writeTo(t, dir, "out", "right")
			r, from := resultOf(t, "build", dir)
			spoil(&r, dir)
			if err := w.Put(t.Context(), r, from); err == nil || errors.Is(err, cache.ErrOff) {
				t.Errorf("got %v", err)
			}
			w.mustMiss(r)
			if left := w.stored("outputs/tmp-*"); len(left) > 0 {
				t.Errorf("left %q", left)
			}
			// Only this result is not kept.
			w.put("next", files{"out": "1"})
		})
	}
}

func TestLog(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	text := strings.Repeat("compiling\n", 5000)
	path := filepath.Join(t.TempDir(), "build.log")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, from := result(t, "build", files{"out": "1"})
	r.LogFile = path
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	if e.Log.Digest != digest.Of([]byte(text)) {
		t.Errorf("the log is %v", e.Log)
	}
	for _, packed := range []int{0, 1} {
		log, err := w.Log(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(log)
		if err := errors.Join(err, log.Close()); err != nil || string(got) != text {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if n := len(w.stored("outputs/*/*.zst")); n != packed {
			t.Errorf("%d files are compressed", n)
		}
		w.growOld(c)
	}

	quiet := w.put("quiet", files{"out": "1"})
	if e, err = w.Get(t.Context(), quiet.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Log(t.Context(), e); !errors.Is(err, cas.ErrNotFound) {
		t.Errorf("a step that printed nothing has a log: %v", err)
	}
}

func TestInPlace(t *testing.T) {
	w := newWorld(t, cache.Options{})
	dir := t.TempDir()
	for path, content := range (files{"d/x": "1", "d/y": "2", "l": "-> d/x", "e/": ""}) {
		writeTo(t, dir, path, content)
	}
	r, from := resultOf(t, "build", dir)
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	inPlace := func(owned func(string) bool) bool {
		there, _ := resultOf(t, "again", dir)
		return e.InPlace(from, there.Outputs.Entries(), owned)
	}
	if !inPlace(nil) {
		t.Fatal("what was stored is not in place")
	}
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, change := range []struct {
		name     string
		do, undo func() error
	}{
		{"content", func() error { return os.WriteFile(at("d/x"), []byte("2"), 0o644) }, func() error { return os.WriteFile(at("d/x"), []byte("1"), 0o644) }},
		{"mode", func() error { return os.Chmod(at("d/x"), 0o640) }, func() error { return os.Chmod(at("d/x"), 0o644) }},
		{"mode of a folder", func() error { return os.Chmod(at("d"), 0o700) }, func() error { return os.Chmod(at("d"), 0o755) }},
		{"mode of an empty folder", func() error { return os.Chmod(at("e"), 0o700) }, func() error { return os.Chmod(at("e"), 0o755) }},
		{"removed", func() error { return os.Remove(at("l")) }, func() error { return os.Symlink("d/x", at("l")) }},
		{"added", func() error { return os.WriteFile(at("z"), nil, 0o644) }, func() error { return os.Remove(at("z")) }},
		{"renamed", func() error { return os.Rename(at("d/y"), at("d/z")) }, func() error { return os.Rename(at("d/z"), at("d/y")) }},
		{"retargeted", func() error { return errors.Join(os.Remove(at("l")), os.Symlink("d/y", at("l"))) }, func() error { return errors.Join(os.Remove(at("l")), os.Symlink("d/x", at("l"))) }},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if inPlace(nil) {
			t.Errorf("%s: still in place", change.name)
		}
		if err := change.undo(); err != nil {
			t.Fatal(err)
		}
		if !inPlace(nil) {
			t.Fatalf("%s: not in place after it was undone", change.name)
		}
	}
	if err := os.Chmod(at("d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !inPlace(func(p string) bool { return p != "d" }) {
		t.Error("the mode of a folder matters that is not the step's")
	}
	if inPlace(func(p string) bool { return p == "d" }) {
		t.Error("the mode of a folder that is the step's does not matter")
	}
	// An entry that stands in the list twice does not make up for one that is
	// missing.
	twice, _ := resultOf(t, "twice", dir)
	list := append([]tree.Entry{}, twice.Outputs.Entries()...)
	list[1] = list[0]
	if e.InPlace(from, list, func(string) bool { return false }) {
		t.Error("an entry that is missing was not missed")
	}
}

func TestPast(t *testing.T) {
	w := newWorld(t, cache.Options{})
	if got := w.Last("p"); len(got) != 0 {
		t.Errorf("last of nothing is %v", got)
	}
	r := w.put("build", files{"out": "1"})
	doc, err := w.Document(r.Key)
	if err != nil || string(doc) != string(r.Document) {
		t.Errorf("document %q, %v", doc, err)
	}
	inputs, err := w.Listing(t.Context(), r.Inputs.Digest())
	if err != nil || inputs.Digest() != r.Inputs.Digest() {
		t.Errorf("inputs %v, %v", inputs.Entries(), err)
	}
	none := digest.Of([]byte("none"))
	if _, err := w.Document(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a document that is not there: %v", err)
	}
	if _, err := w.Listing(t.Context(), none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("inputs that are not there: %v", err)
	}

	keys := map[string]digest.Digest{"build": r.Key, "odd\nname 3:x": none}
	for _, add := range []map[string]digest.Digest{keys, {"test": none}, {}} {
		if err := w.SaveLast("p", add); err != nil {
			t.Fatal(err)
		}
	}
	keys["test"] = none
	if diff := cmp.Diff(keys, w.Last("p"), cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("last keys (-want +got):\n%s", diff)
	}
	if got := w.Last("q"); len(got) != 0 {
		t.Errorf("last of another pipeline is %v", got)
	}
	file := w.stored("metadata/last/*")[0]
	spoil(t, file, func(b []byte) []byte { b[30] ^= 1; return b })
	if got := w.Last("p"); len(got) != 0 {
		t.Errorf("a damaged file says %v", got)
	}
}

func TestEndedContext(t *testing.T) {
	w := newWorld(t, cache.Options{})
	r, from := result(t, "build", files{"out": "1"})
	e := func() *cache.Entry { w.put("build", files{"out": "1"}); e, _ := w.Get(t.Context(), r.Key); return e }()
	ctx, why := done(t)
	if _, err := w.Get(ctx, r.Key); !errors.Is(err, why) {
		t.Errorf("Get: %v", err)
	}
	if err := w.Put(ctx, r, from); !errors.Is(err, why) {
		t.Errorf("Put: %v", err)
	}
	if err := w.Restore(ctx, e, from); !errors.Is(err, why) {
		t.Errorf("Restore: %v", err)
	}
	// None of it says anything about the cache.
	if w.warned() > 0 {
		t.Error("warned")
	}
	w.put("next", files{"out": "2"})
}

// TestTime makes sure that a use is noted.
func TestTime(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now})
	r := w.put("build", files{"out": "1"})
	c.forward(time.Hour)
	e, err := w.Get(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Stored.Equal(c.now().Add(-time.Hour)) {
		t.Errorf("stored at %v", e.Stored)
	}
	st, err := w.Stats(t.Context())
	if err != nil || !st.Newest.Equal(c.now()) {
		t.Errorf("used at %v, %v", st.Newest, err)
	}
}
