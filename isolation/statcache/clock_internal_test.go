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
