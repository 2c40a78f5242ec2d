// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// usage is what a cache takes of the disk, in whole blocks, folders included.
func usage(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			size += 4096
		} else {
			size += (info.Size() + 4095) / 4096 * 4096
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// slack is what a cache has besides what it counts: its five folders, the lock,
// the tag and the number itself.
const slack = 12 * 4096

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now})
	var all []cache.Result
	for i := range 6 {
		all = append(all, w.put(fmt.Sprint("step", i), files{"out": fmt.Sprint(i, random(100_000))}))
		c.forward(time.Minute)
	}
	for _, i := range []int{3, 0} { // used again
		if _, err := w.Get(t.Context(), all[i].Key); err != nil {
			t.Fatal(err)
		}
		c.forward(time.Minute)
	}
	small := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: 450_000})
	freed, err := small.GC(t.Context())
	if err != nil || freed.Results != 3 || freed.Blobs != 6 || freed.Bytes < 300_000 {
		t.Errorf("freed %+v, %v", freed, err)
	}
	for i, want := range []bool{true, false, false, true, false, true} {
		_, err := small.restore(all[i].Key)
		if want != (err == nil) {
			t.Errorf("step%d: %v", i, err)
		}
	}
	if small.warned() > 0 {
		t.Error("what was evicted is no reason to warn")
	}
}

// TestMaxSizeIsHard stores much more than fits and looks after each step.
func TestMaxSizeIsHard(t *testing.T) {
	const most = 1 << 20
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, MaxSize: most})
	for i := range 60 {
		r := w.put(fmt.Sprint("step", i), files{"a": fmt.Sprint(i, random(40_000)), "b": fmt.Sprint(i), "shared": random(50_000)})
		c.forward(time.Second)
		if got := usage(t, w.dir); got > most+slack {
			t.Fatalf("after step %d the cache takes %d bytes", i, got)
		}
		if _, err := w.restore(r.Key); err != nil {
			t.Fatalf("what was just stored: %v", err)
		}
	}
	st, err := w.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Results < 8 || st.Size > most || st.Size < most/2 || usage(t, w.dir) > st.Size+slack || usage(t, w.dir) < st.Size {
		t.Errorf("%+v, and %d bytes on disk", st, usage(t, w.dir))
	}
}

func TestTooLarge(t *testing.T) {
	w := newWorld(t, cache.Options{MaxSize: 300_000})
	first := w.put("first", files{"out": random(100_000)})
	r, from := result(t, "large", files{"out": random(400_000)})
	if err := w.Put(t.Context(), r, from); !errors.Is(err, cache.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	w.mustMiss(r)
	if _, err := w.restore(first.Key); err != nil {
		t.Errorf("something else had to go for it: %v", err)
	}
	w.put("small", files{"out": "1"})
}

func TestRetention(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, Retention: 30 * 24 * time.Hour})
	old, used := w.put("old", files{"out": "old"}), w.put("used", files{"out": "used"})
	c.forward(20 * 24 * time.Hour)
	if _, err := w.Get(t.Context(), used.Key); err != nil {
		t.Fatal(err)
	}
	c.forward(11 * 24 * time.Hour)
	if err := w.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustMiss(old)
	if _, err := w.Document(old.Key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its document: %v", err)
	}
	if _, err := w.restore(used.Key); err != nil {
		t.Error(err)
	}
}

// TestMaintainIsRare makes sure that the end of a run does not look at the whole
// cache.
func TestMaintainIsRare(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now})
	w.put("one", files{"out": "1"})
	stray := filepath.Join(w.dir, "outputs", "tmp-stray")
	maintain := func() bool {
		if err := os.WriteFile(stray, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(stray)
		return err != nil
	}
	if _, err := w.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if maintain() {
		t.Error("tidied at once")
	}
	c.forward(25 * time.Hour)
	if !maintain() {
		t.Error("not tidied after a day")
	}
	if maintain() {
		t.Error("tidied again at once")
	}
	smaller := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: 1000})
	if err := smaller.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, _ := w.Stats(t.Context()); st.Results != 0 {
		t.Error("not tidied though it is too large")
	}
}

// TestPastIsKept makes sure that the reason of a miss is known after eviction.
func TestPastIsKept(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now})
	r := w.put("build", files{"out": random(100_000)})
	if err := w.SaveLast("p", map[string]digest.Digest{"build": r.Key}); err != nil {
		t.Fatal(err)
	}
	c.forward(time.Minute)
	w.put("other", files{"out": "1"})
	small := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: 100_000})
	if _, err := small.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	small.mustMiss(r)
	if small.Last("p")["build"] != r.Key {
		t.Error("the last key is gone")
	}
	if _, err := small.Document(r.Key); err != nil {
		t.Error(err)
	}
	if _, err := small.Listing(t.Context(), r.Inputs.Digest()); err != nil {
		t.Error(err)
	}
	// But not where that alone is too much.
	tiny := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: 1})
	if _, err := tiny.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := tiny.Stats(t.Context()); err != nil || st.Size > 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestSharedContentStays(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, Retention: time.Hour})
	w.put("old", files{"out": "shared"})
	c.forward(50 * time.Minute)
	dir := t.TempDir()
	writeTo(t, dir, "copy", "shared")
	r, from := resultOf(t, "new", dir)
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	c.forward(50 * time.Minute)
	if freed, err := w.GC(t.Context()); err != nil || freed.Results != 1 || freed.Blobs != 1 { // the old one's listing
		t.Errorf("freed %+v, %v", freed, err)
	}
	w.mustHave(r, dir)
}

func TestGCRemovesWhatKilledProcessesLeft(t *testing.T) {
	w := newWorld(t, cache.Options{})
	r := w.put("build", files{"out": "1"})
	left := []string{"outputs/tmp-a", "receipts/tmp-b", "metadata/tmp-c", "tmp-d", "locks/" + strings.Repeat("ab", 32), "outputs/00/" + strings.Repeat("0", 62)}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range left {
		writeTo(t, w.dir, name, "left")
		if err := os.Chtimes(filepath.Join(w.dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"outputs/aa", "receipts/bb", "metadata/cc"} {
		writeTo(t, w.dir, name+"/", "")
		left = append(left, name)
	}
	// Keys of a run are written without a lock.
	if err := w.SaveLast("p", map[string]digest.Digest{"build": r.Key}); err != nil {
		t.Fatal(err)
	}
	left = append(left, "metadata/last/tmp-old")
	writeTo(t, w.dir, "metadata/last/tmp-old", "left")
	if err := os.Chtimes(filepath.Join(w.dir, "metadata/last/tmp-old"), old, old); err != nil {
		t.Fatal(err)
	}
	writing := []string{"tmp-new", "metadata/last/tmp-new"}
	for _, name := range writing {
		writeTo(t, w.dir, name, "is being written")
	}
	busy := digest.Of([]byte("busy"))
	held, err := w.Reserve(t.Context(), busy, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if _, err := w.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(w.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	for _, name := range append(writing, "locks/"+busy.Hex()) {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			t.Errorf("in use, and removed: %v", err)
		}
	}
	if _, err := w.restore(r.Key); err != nil {
		t.Error(err)
	}
}

func TestClear(t *testing.T) {
	w := newWorld(t, cache.Options{})
	r := w.put("build", files{"out": "1"})
	if err := w.SaveLast("p", map[string]digest.Digest{"build": r.Key}); err != nil {
		t.Fatal(err)
	}
	writeTo(t, w.dir, "inputs/known", "digests")
	other := newWorld(t, cache.Options{Dir: w.dir}) // another process, as it were
	before, err := other.Stats(t.Context())
	if err != nil || before.Results != 1 || before.Inputs != 4096 || before.Content != 1 {
		t.Errorf("%+v, %v", before, err)
	}
	freed, err := w.Clear(t.Context())
	if err != nil || freed.Results != 1 || freed.Bytes == 0 {
		t.Errorf("freed %+v, %v", freed, err)
	}
	after, err := other.Stats(t.Context())
	if err != nil || after.Results+after.Blobs != 0 || after.Size+after.Inputs != 0 {
		t.Errorf("left %+v, %v", after, err)
	}
	other.mustMiss(r)
	if len(other.Last("p")) > 0 {
		t.Error("the last keys are still there")
	}
	// Both go on.
	for _, s := range []*world{other, w} {
		r := s.put("build", files{"out": "1"})
		if _, err := s.restore(r.Key); err != nil {
			t.Error(err)
		}
	}
}
