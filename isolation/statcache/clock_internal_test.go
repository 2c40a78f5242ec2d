// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

func TestSettled(t *testing.T) {
	const second = int64(time.Second)
	const now = 1_700_000_000*second + 123_456_789
	at := func(ago time.Duration) tree.Stat {
		return tree.Stat{Dev: 1, Inode: 2, Mtime: now - int64(ago), Ctime: now - int64(ago)}
	}
	other := func(s tree.Stat) tree.Stat { s.Dev = 7; return s }
	late := at(time.Hour)
	late.Mtime = now + second
	put := at(time.Millisecond)
	put.Mtime -= 3600 * second
	whole := at(0)
	whole.Ctime = now/second*second - second
	whole.Mtime = whole.Ctime
	older := whole
	older.Ctime -= 3 * second
	older.Mtime = older.Ctime
	ticking, coarse, telling := Moment{dev: 1, now: now}, Moment{dev: 1, now: now / second * second}, Moment{dev: 1, now: now, telling: true}
	for _, tt := range []struct {
		name  string
		clock Moment
		stat  tree.Stat
		want  bool
	}{
		{"no clock", Moment{}, at(time.Hour), false},
		{"no clock, before 1970", Moment{}, tree.Stat{Inode: 2, Mtime: -1 << 40, Ctime: -1 << 40}, false},
		{"at once", ticking, at(0), false},
		{"in the same tick", ticking, at(10 * time.Millisecond), false},
		{"a build ago", ticking, at(time.Second), true},
		{"after the clock was read", ticking, at(-time.Second), false},
		{"with its mtime put back", ticking, put, false},
		{"with an mtime to come", ticking, late, false},
		{"a file system of seconds", ticking, whole, false},
		{"a file system of seconds, later", ticking, older, true},
		{"a clock of seconds", coarse, at(time.Second), false},
		{"a clock of seconds, later", coarse, at(4 * time.Second), true},
		{"another file system", ticking, other(at(time.Second)), false},
		{"another file system, later", ticking, other(at(4 * time.Second)), true},
		{"a telling file system", telling, at(0), true},
		{"beside a telling file system", telling, other(at(time.Second)), false},
	} {
		if got := tt.clock.settled(tt.stat); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestAfter: what was seen is what stood there only if nothing has changed it since
// the clock was read, on a telling file system as well.
func TestAfter(t *testing.T) {
	const now = 1_700_000_000_123_456_789
	telling, ticking := Moment{dev: 1, now: now, telling: true}, Moment{dev: 1, now: now}
	for _, tt := range []struct {
		name  string
		clock Moment
		dev   uint64
		ago   time.Duration
		want  bool
	}{
		{"telling, before", telling, 1, 1, true},
		{"telling, at once", telling, 1, 0, false},
		{"telling, since", telling, 1, -1, false},
		{"beside a telling one, in the same tick", telling, 2, fineTick + 1, false},
		{"beside a telling one, before", telling, 2, coarseTick + 1, true},
		{"ticking, in the same tick", ticking, 1, fineTick, false},
		{"ticking, before", ticking, 1, fineTick + 1, true},
	} {
		s := tree.Stat{Dev: tt.dev, Inode: 2, Mtime: now - int64(tt.ago), Ctime: now - int64(tt.ago)}
		if got := tt.clock.After(s); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTells: a clock that stands still between two changes moves in ticks, and so
// does one that has moved by a tick.
func TestTells(t *testing.T) {
	for _, tt := range []struct {
		passed time.Duration
		want   bool
	}{{0, false}, {1, true}, {40 * time.Microsecond, true}, {shortestTick, false}, {time.Millisecond, false}, {4 * time.Millisecond, false}, {time.Second, false}, {-1, false}} {
		if got := tells(1e18, 1e18+int64(tt.passed)); got != tt.want {
			t.Errorf("%v: %v", tt.passed, got)
		}
	}
}

// TestClock holds what the clock says of a file system against what it does: a
// telling one never gives two contents one Stat.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	before, err := ReadClock(dir)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ReadClock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if before.dev == 0 || after.now < before.now {
		t.Errorf("%+v, then %+v", before, after)
	}
	t.Logf("the file system tells: %v", before.telling)
	if before.telling {
		neverTheSame(t, dir)
	}
}
