// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/cache"
)

// TestMaintainLeavesTheRest: who ends a run does not wait for all that is due, nor
// for something huge.
func TestMaintainLeavesTheRest(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	if most, largest := w.Hurry(); most > 2*time.Second || largest > 128<<20 {
		t.Errorf("a run may wait for %v, and for a content of %d", most, largest)
	}
	small, large := w.keep("small", files{"out": mixed(50_000)}), w.keep("large", files{"out": mixed(300_000)})
	c.forward(48 * time.Hour)
	tidied := func() bool {
		info, err := os.Stat(filepath.Join(w.dir, "tidied"))
		return err == nil && info.ModTime().Equal(c.now())
	}
	w.SetHurry(0, 200_000)
	for range 2 {
		if err := w.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mustCount()
		w.mustBe(small, "out", "verbatim")
		if tidied() {
			t.Fatal("nothing was compressed, and the next run will not know it")
		}
	}
	w.SetHurry(time.Minute, 200_000)
	if err := w.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBe(small, "out", "packed")
	w.mustBe(large, "out", "verbatim")
	if !tidied() {
		t.Error("all was done, and the next run will not know it")
	}
	w.SetHurry(0, 1)
	if freed, err := w.GC(t.Context()); err != nil || freed.Packed != 1 {
		t.Errorf("freed %+v, %v", freed, err)
	}
	w.mustBe(large, "out", "packed")
	w.mustCount()
}

// many is a result of which much can be compressed, last used two days ago.
func many(t *testing.T) (*world, *clock, kept) {
	c := newClock()
	w := newWorld(t, cache.Options{Compress: true, Now: c.now})
	all := files{}
	for i := range 300 {
		all[fmt.Sprint("file", i)] = fmt.Sprint(i, mixed(100_000))
	}
	k := w.keep("many", all)
	c.forward(48 * time.Hour)
	return w, c, k
}

// TestHurry: where time ends in the middle, the next run goes on.
func TestHurry(t *testing.T) {
	w, c, _ := many(t)
	w.SetHurry(time.Millisecond, 1<<20)
	if err := w.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.stored("outputs/*/*.zst")); n == 300 {
		t.Errorf("all were compressed in a millisecond")
	}
	if info, err := os.Stat(filepath.Join(w.dir, "tidied")); err == nil && info.ModTime().Equal(c.now()) {
		t.Error("something is left, and the next run will not know it")
	}
	w.mustCount()
}

// TestPackingIsInterrupted ends the context of a GC that compresses.
func TestPackingIsInterrupted(t *testing.T) {
	for range 20 { // it may be done before it is told to end
		w, _, k := many(t)
		freed := w.interrupted()
		w.mustCount()
		if left := w.stored("outputs/tmp-*"); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		w.SetHurry(time.Minute, 1<<20)
		if err := w.Maintain(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(w.stored("outputs/*/*.zst")); freed.Packed < 300 && n != 300 {
			t.Errorf("%d are compressed in the end", n)
		}
		w.mustCount()
		w.mustHave(k.Result, k.dir)
		if freed.Packed < 300 {
			return
		}
	}
	t.Error("it was never interrupted")
}

// interrupted tidies, and ends that when something has been compressed.
func (w *world) interrupted() cache.Freed {
	w.t.Helper()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(w.t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			if len(w.stored("outputs/[0-3]?/*.zst")) > 0 {
				cancel(why)
			}
		}
	}()
	freed, err := w.GC(ctx)
	cancel(nil)
	<-over
	if err != nil && !errors.Is(err, why) || freed.Packed == 0 || err == nil && freed.Packed < 300 {
		w.t.Errorf("freed %+v, %v", freed, err)
	}
	return freed
}

// TestPutIsNotPatient: who stores a result does not wait until all is compressed;
// what was used least recently goes instead.
func TestPutIsNotPatient(t *testing.T) {
	c := newClock()
	w := newWorld(t, cache.Options{Now: c.now, MaxSize: 800_000, Compress: true})
	w.SetPressed(0)
	var all []kept
	for i := range 8 { // 112 KB each
		all = append(all, w.keep(fmt.Sprint("step", i), files{"out": fmt.Sprint(i, mixed(100_000))}))
		c.forward(time.Minute)
		w.mustCount()
	}
	w.mustMiss(all[0].Result)
	for _, k := range all[4:] {
		w.mustBe(k, "out", "verbatim")
		w.mustHave(k.Result, k.dir)
	}
}
