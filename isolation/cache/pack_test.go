// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// kept is a Result and the folder with its outputs.
type kept struct {
	cache.Result
	dir string
}

// keep stores a step that leaves the files.
func (w *world) keep(name string, f files) kept {
	w.t.Helper()
	dir := w.t.TempDir()
	for path, content := range f {
		writeTo(w.t, dir, path, content)
	}
	r, from := resultOf(w.t, name, dir)
	if err := w.Put(w.t.Context(), r, from); err != nil {
		w.t.Fatal(err)
	}
	return kept{r, dir}
}

// forms says of each output which form of it is in the cache.
func (w *world) forms(k kept) map[string]string {
	all := map[string]string{}
	for _, o := range k.Outputs.Entries() {
		hex := o.Digest.Hex()
		for _, form := range []struct{ suffix, name string }{{"", "verbatim"}, {".zst", "packed"}} {
			if _, err := os.Lstat(filepath.Join(w.dir, "outputs", hex[:2], hex[2:]+form.suffix)); err == nil {
				all[o.Path] += form.name
			}
		}
	}
	return all
}

func (w *world) mustBe(k kept, path, form string) {
	w.t.Helper()
	if got := w.forms(k)[path]; got != form {
		w.t.Errorf("%s of %s is %q, not %s", path, k.Document, got, form)
	}
}

// TestWhatIsUsedStaysVerbatim: content is compressed when no result that needs it
// was used for a day, and comes out as it went in.
func TestWhatIsUsedStaysVerbatim(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	old := w.keep("old", files{"own": mixed(200_000), "shared": "s" + mixed(150_000), "noise": random(50_000), "small": "1"})
	asked := w.keep("asked", files{"out": "a" + mixed(90_000)})
	c.forward(24 * time.Hour)
	if _, err := w.Get(t.Context(), asked.Key); err != nil {
		t.Fatal(err)
	}
	today := w.keep("today", files{"own": "t" + mixed(200_000), "shared": "s" + mixed(150_000)})
	w.mustBe(today, "own", "verbatim")
	if freed, err := w.GC(t.Context()); err != nil || freed != (cache.Freed{}) {
		t.Errorf("nothing is older than a day: %+v, %v", freed, err)
	}
	c.forward(time.Second)
	w.mustCount()
	before := w.counted()
	freed, err := w.GC(t.Context())
	if err != nil || freed.Packed != 1 || freed.Results+freed.Blobs != 0 || freed.Bytes != before-w.counted() || freed.Bytes < 90_000 {
		t.Errorf("freed %+v of %d, %d are left, %v", freed, before, w.counted(), err)
	}
	w.mustCount()
	for path, form := range map[string]string{"own": "packed", "shared": "verbatim", "noise": "verbatim", "small": "verbatim"} {
		w.mustBe(old, path, form)
	}
	w.mustBe(today, "own", "verbatim")
	w.mustBe(asked, "out", "verbatim")
	if st, err := w.Stats(t.Context()); err != nil || st.Packed != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
	w.mustHave(old.Result, old.dir) // which is a use
	c.forward(24*time.Hour - time.Second)
	if freed, err := w.GC(t.Context()); err != nil || freed.Packed != 0 {
		t.Errorf("used a day ago: %+v, %v", freed, err)
	}
	if freed := w.growOld(c); freed.Packed != 3 {
		t.Errorf("two days later %+v", freed)
	}
	w.mustCount()
	for _, k := range []kept{old, today, asked} {
		w.mustHave(k.Result, k.dir)
	}
	if v, err := w.Verify(t.Context(), cache.VerifyOptions{}); err != nil || len(v.Problems) > 0 || w.warned() > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestNothingIsPackedWithout makes sure that the option is obeyed.
func TestNothingIsPackedWithout(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, MaxSize: 300_000})
	k := w.keep("one", files{"out": mixed(200_000)})
	if freed := w.growOld(c); freed.Packed != 0 {
		t.Errorf("freed %+v", freed)
	}
	w.mustBe(k, "out", "verbatim")
	w.keep("two", files{"out": "2" + mixed(200_000)})
	w.mustMiss(k.Result)
}

// TestListingsOfOldInputs: what only explains a miss is compressed like outputs,
// and stays verbatim as long as the step that saw it is in use.
func TestListingsOfOldInputs(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	dir := t.TempDir()
	for i := range 200 {
		writeTo(t, dir, fmt.Sprint("file", i), fmt.Sprint(i))
	}
	seen, _ := resultOf(t, "many", dir)
	r, from := result(t, "step", files{"out": "1"})
	r.Inputs = seen.Outputs
	r.Document = documentOf("step", r.Inputs)
	r.Key = digest.Of(r.Document)
	if err := w.Put(t.Context(), r, from); err != nil {
		t.Fatal(err)
	}
	if freed, err := w.GC(t.Context()); err != nil || freed.Packed != 0 {
		t.Errorf("freed %+v, %v", freed, err)
	}
	if freed := w.growOld(c); freed.Packed != 1 {
		t.Errorf("freed %+v", freed)
	}
	w.mustCount()
	if got, err := w.Listing(t.Context(), r.Inputs.Digest()); err != nil || got.Digest() != r.Inputs.Digest() {
		t.Errorf("%v", err)
	}
}

// TestRoomIsMadeByPacking fills a cache: what was used least recently is compressed
// before anything has to go, and goes first when that is not enough.
func TestRoomIsMadeByPacking(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now})
	var all []kept
	for i := range 6 {
		all = append(all, w.keep(fmt.Sprint("step", i), files{"out": fmt.Sprint(i, mixed(100_000))}))
		c.forward(time.Minute)
	}
	if _, err := w.Get(t.Context(), all[0].Key); err != nil { // used again
		t.Fatal(err)
	}
	c.forward(time.Minute)
	tidied := func(most int64) (*world, cache.Freed) {
		small := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: most, Compress: true})
		before := w.counted()
		freed, err := small.GC(t.Context())
		if err != nil || freed.Bytes != before-w.counted() || w.counted() > most {
			t.Errorf("at most %d: freed %+v of %d, %d are left, %v", most, freed, before, w.counted(), err)
		}
		small.mustCount()
		return small, freed
	}
	all0 := w.counted()
	if small, freed := tidied(all0 - 60_000); freed.Results+freed.Blobs != 0 || freed.Packed < 2 || freed.Packed > 3 {
		t.Errorf("freed %+v", freed)
	} else {
		small.mustBe(all[1], "out", "packed")
		small.mustBe(all[2], "out", "packed")
		small.mustBe(all[5], "out", "verbatim")
		small.mustBe(all[0], "out", "verbatim")
	}
	small, freed := tidied(all0 - 400_000)
	if freed.Packed < 3 || freed.Results < 1 || freed.Results > 2 {
		t.Errorf("freed %+v", freed)
	}
	small.mustMiss(all[1].Result)
	for _, k := range []kept{all[0], all[3], all[4], all[5]} {
		small.mustHave(k.Result, k.dir)
	}
	// What is far too much is not compressed first.
	c.forward(time.Minute)
	for i := range 20 {
		w.keep(fmt.Sprint("more", i), files{"out": fmt.Sprint("more", i, mixed(100_000))})
		c.forward(time.Second)
	}
	if _, freed = tidied(300_000); freed.Packed > 6 || freed.Packed < 2 || freed.Results < 15 {
		t.Errorf("freed %+v", freed)
	}
}

// TestPutPacks: storing makes room in the same order.
func TestPutPacks(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, MaxSize: 800_000, Compress: true})
	var all []kept
	for i := range 8 { // 112 KB each, of which about half remains
		all = append(all, w.keep(fmt.Sprint("step", i), files{"out": fmt.Sprint(i, mixed(100_000))}))
		c.forward(time.Minute)
		w.mustCount()
	}
	w.mustBe(all[0], "out", "packed")
	w.mustBe(all[7], "out", "verbatim")
	for _, k := range all {
		w.mustHave(k.Result, k.dir)
	}
	if got := usage(t, w.dir); got > 800_000+slack {
		t.Errorf("the cache takes %d bytes", got)
	}
}

// TestPutPacksNoMore: who stores a result does not wait for more than the room that
// it needs.
func TestPutPacksNoMore(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, MaxSize: 1_000_000, Compress: true})
	var all []kept
	for i := range 6 {
		all = append(all, w.keep(fmt.Sprint("step", i), files{"out": fmt.Sprint(i, mixed(100_000))}))
		c.forward(time.Minute)
	}
	c.forward(48 * time.Hour)
	for i := range 2 {
		w.keep(fmt.Sprint("next", i), files{"out": fmt.Sprint("next", i, mixed(100_000))})
	}
	w.mustBe(all[0], "out", "packed")
	w.mustBe(all[5], "out", "verbatim")
	w.mustCount()
	if err := w.Maintain(t.Context()); err != nil { // it has not been said that all is done
		t.Fatal(err)
	}
	w.mustBe(all[5], "out", "packed")
	w.mustCount()
}

// TestWhatDidNotPayIsNotTriedAgain: a mark on the file says so.
func TestWhatDidNotPayIsNotTriedAgain(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, Compress: true})
	k := w.keep("one", files{"out": mixed(200_000)})
	hex := k.Outputs.Entries()[0].Digest.Hex()
	if err := os.Chmod(filepath.Join(w.dir, "outputs", hex[:2], hex[2:]), 0o400); err != nil {
		t.Fatal(err)
	}
	if freed := w.growOld(c); freed.Packed != 0 {
		t.Errorf("freed %+v", freed)
	}
	w.mustHave(k.Result, k.dir)
}

// TestPackingOfDamage: what is damaged is left to those who want to read it.
func TestPackingOfDamage(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	bad, good := w.keep("bad", files{"out": mixed(100_000)}), w.keep("good", files{"out": "g" + mixed(100_000)})
	hex := bad.Outputs.Entries()[0].Digest.Hex()
	path := filepath.Join(w.dir, "outputs", hex[:2], hex[2:])
	spoil(t, path, func(b []byte) []byte { b[90_000]++; return b })
	want, _ := os.ReadFile(path)
	if freed := w.growOld(c); freed.Packed != 1 {
		t.Errorf("freed %+v", freed)
	}
	w.mustCount()
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("it was changed: %v", err)
	}
	w.mustBe(good, "out", "packed")
	if _, err := w.restore(bad.Key); !errors.Is(err, cache.ErrMiss) || w.warned() != 1 {
		t.Errorf("got %v", err)
	}
	w.mustHave(good.Result, good.dir)
}

// TestWhatAKillLeavesOfPacking: both forms of a content, and a file that was never
// finished.
func TestWhatAKillLeavesOfPacking(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	k := w.keep("one", files{"out": mixed(100_000)})
	w.growOld(c)
	packed := w.stored("outputs/*/*.zst")[0]
	writeTo(t, w.dir, "outputs/tmp-half", "half")
	writeTo(t, filepath.Dir(packed), strings.TrimSuffix(filepath.Base(packed), ".zst"), mixed(100_000))
	w.mustBe(k, "out", "verbatim"+"packed")
	before := w.counted() - 4096 // the unfinished file
	if freed := w.growOld(c); freed.Packed != 1 || freed.Bytes != before-w.counted() {
		t.Errorf("freed %+v, %d are left of %d", freed, w.counted(), before)
	}
	w.mustCount()
	w.mustBe(k, "out", "packed")
	w.mustHave(k.Result, k.dir)
}
