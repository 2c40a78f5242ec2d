// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/cache"
)

// TestReadOnlyIsNotPacked: a cache that cannot be written is left as it is.
func TestReadOnlyIsNotPacked(t *testing.T) {
	disk := mount(t, "size=4m,mode=0700")
	c := newClock()
	o := cache.Options{Dir: filepath.Join(disk, "cache"), Now: c.now, Compress: true, MaxSize: 1 << 20}
	k := newWorld(t, o).keep("build", files{"out": mixed(200_000)})
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	c.forward(48 * time.Hour)
	for _, most := range []int64{1 << 20, 100_000} {
		o.MaxSize = most
		w := newWorld(t, o)
		before := snapshot(t, disk)
		if err := w.Maintain(t.Context()); err != nil {
			t.Errorf("Maintain: %v", err)
		}
		if freed, err := w.GC(t.Context()); err == nil || freed != (cache.Freed{}) {
			t.Errorf("GC: %+v, %v", freed, err)
		}
		if diff := cmp.Diff(before, snapshot(t, disk)); diff != "" {
			t.Errorf("it was changed: %s", diff)
		}
		w.mustHave(k.Result, k.dir)
	}
}

// TestNoRoomToPack: where there is no room to compress, the least recently used
// goes.
func TestNoRoomToPack(t *testing.T) {
	disk := mount(t, "size=1m,mode=0700")
	c := newClock()
	w := newWorld(t, cache.Options{Dir: filepath.Join(disk, "cache"), Now: c.now})
	first := w.keep("first", files{"out": "1" + mixed(200_000)})
	c.forward(time.Minute)
	second := w.keep("second", files{"out": "2" + mixed(200_000)})
	var st unix.Statfs_t
	if err := unix.Statfs(disk, &st); err != nil {
		t.Fatal(err)
	}
	writeTo(t, disk, "filler", random(int(st.Bavail-4)*int(st.Bsize)))
	small := newWorld(t, cache.Options{Dir: w.dir, Now: c.now, MaxSize: 300_000, Compress: true})
	if freed, err := small.GC(t.Context()); err != nil || freed.Results != 1 || freed.Packed != 0 {
		t.Errorf("freed %+v, %v", freed, err)
	}
	small.mustCount()
	small.mustMiss(first.Result)
	small.mustHave(second.Result, second.dir)
}
