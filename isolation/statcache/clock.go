// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"errors"
	"os"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// clock is what is known of a file system's own clock at a moment. The zero
// clock knows nothing.
type clock struct {
	dev uint64
	now int64 // nanoseconds since 1970: when a file was changed a moment ago
	// telling says that the file system never gives a file a time again that
	// somebody has seen it have. Linux does so since 6.13 on the file systems
	// that matter (multigrain timestamps).
	telling bool
}

// How far a file's last change must lie before the clock's time, if the file
// system is not a telling one. The clock moves in ticks of at most ten
// milliseconds on file systems that note parts of a second, of one or two
// seconds on others (FAT, HFS+, ext3). Of another file system's clock is only
// known that it is no worse.
const (
	fineTick   = 20 * time.Millisecond
	coarseTick = 3 * time.Second
	// shortestTick is less than any tick of the clock that the kernel takes
	// times from when it does not look at the real one: it has at most a
	// thousand a second.
	shortestTick = 500 * time.Microsecond
)

// clock looks at the clock of the file system that the digests are kept on.
func (c *Cache) clock() clock {
	now, err := c.readClock(c.options.Dir)
	if err != nil {
		c.options.Log.Warn("cannot remember the digests of files", "path", c.options.Dir, "err", err)
	}
	return now
}

// readClock changes a file three times, and looks at it after each.
func readClock(dir string) (clock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return clock{}, err
	}
	f, err := os.CreateTemp(dir, "clock-")
	if err != nil {
		return clock{}, err
	}
	var last [3]tree.Stat
	for i, mode := range [...]os.FileMode{0o600, 0o400, 0o600} {
		var info os.FileInfo
		if err = f.Chmod(mode); err != nil {
			break
		}
		if info, err = f.Stat(); err != nil {
			break
		}
		last[i] = tree.StatOf(info)
	}
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return clock{}, err
	}
	passed := last[2].Ctime - last[1].Ctime
	return clock{last[2].Dev, last[2].Ctime, passed > 0 && passed < int64(shortestTick)}, nil
}

// settled reports whether s, which the file system was asked for after the
// clock was read, is of a file that will have another time after whatever
// changes it.
func (c clock) settled(s tree.Stat) bool {
	if c == (clock{}) {
		return false
	}
	return s.Dev == c.dev && c.telling || c.after(s)
}

// after reports whether whatever changed the file that looks like s did so
// before the clock was read.
func (c clock) after(s tree.Stat) bool {
	if c == (clock{}) {
		return false
	}
	here := s.Dev == c.dev
	if here && c.telling {
		return s.Ctime < c.now // no later change has an earlier time
	}
	margin := fineTick
	if !here || wholeSecond(c.now) || wholeSecond(s.Ctime) {
		margin = coarseTick
	}
	before := c.now - int64(margin)
	return s.Ctime < before && s.Mtime < before
}

func wholeSecond(t int64) bool { return t%int64(time.Second) == 0 }
