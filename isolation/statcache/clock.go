// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"errors"
	"os"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// clock is a time by a file system's own clock: that at which a file was made
// a moment ago. The zero clock knows no time.
type clock struct {
	dev uint64
	now int64 // nanoseconds since 1970
}

// How far a file's last change must lie before the clock's time. The clock
// moves in ticks of at most ten milliseconds on file systems that note parts
// of a second, of one or two seconds on others (FAT, HFS+, ext3). Of another
// file system's clock is only known that it is no worse.
const (
	fineTick   = 20 * time.Millisecond
	coarseTick = 3 * time.Second
)

// clock looks at the clock of the file system that the digests are kept on.
func (c *Cache) clock() clock {
	now, err := readClock(c.options.Dir)
	if err != nil {
		c.options.Log.Warn("cannot remember the digests of files", "path", c.options.Dir, "err", err)
	}
	return now
}

func readClock(dir string) (clock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return clock{}, err
	}
	f, err := os.CreateTemp(dir, "clock-")
	if err != nil {
		return clock{}, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return clock{}, err
	}
	s := tree.StatOf(info)
	return clock{s.Dev, s.Ctime}, nil
}

// settled reports whether a file was last changed so long before the clock's
// time that whatever changes it afterwards gives it another time.
func (c clock) settled(s tree.Stat) bool {
	margin := fineTick
	if s.Dev != c.dev || wholeSecond(c.now) || wholeSecond(s.Ctime) {
		margin = coarseTick
	}
	before := c.now - int64(margin)
	return c != clock{} && s.Ctime < before && s.Mtime < before
}

func wholeSecond(t int64) bool { return t%int64(time.Second) == 0 }
