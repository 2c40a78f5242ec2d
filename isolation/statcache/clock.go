// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"errors"
	"os"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// Moment is a time on a file system's own clock, and what is known of that clock.
// The zero Moment is before everything.
type Moment struct {
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

// IsZero reports whether m is of no use.
func (m Moment) IsZero() bool { return m == Moment{} }

// Now returns this moment by the clock of the file system that the digests are
// kept on. It is zero, and the Log is told, where that clock cannot be read.
func (c *Cache) Now() Moment {
	now, err := c.readClock(c.options.Dir)
	if err != nil {
		c.options.Log.Warn("cannot remember the digests of files", "path", c.options.Dir, "err", err)
	}
	return now
}

// ReadClock returns this moment by the clock of the file system that the folder
// dir is on, which is made when it is not there.
func ReadClock(dir string) (Moment, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Moment{}, err
	}
	f, err := os.CreateTemp(dir, "clock-")
	if err != nil {
		return Moment{}, err
	}
	var last [3]tree.Stat // how the file looks after each of three changes
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
		return Moment{}, err
	}
	return Moment{last[2].Dev, last[2].Ctime, tells(last[1].Ctime, last[2].Ctime)}, nil
}

// tells says of a file system whether it is a telling one, by the times that it gave
// to two changes, one right after the other and both seen.
func tells(first, second int64) bool {
	passed := second - first
	return passed > 0 && passed < int64(shortestTick)
}

// settled reports whether s, which the file system was asked for after the
// clock was read, is of a file that will have another time after whatever
// changes it.
func (m Moment) settled(s tree.Stat) bool {
	return s.Dev == m.dev && m.telling || m.After(s)
}

// After reports whether a file that looks like s was last changed before the
// clock was read, beyond doubt: whoever looked at the file between the reading
// of the clock and the making of s has seen it as it was when s was made.
func (m Moment) After(s tree.Stat) bool {
	if m.IsZero() {
		return false
	}
	here := s.Dev == m.dev
	if here && m.telling {
		return s.Ctime < m.now // no later change has an earlier time
	}
	margin := fineTick
	if !here || wholeSecond(m.now) || wholeSecond(s.Ctime) {
		margin = coarseTick
	}
	before := m.now - int64(margin)
	return s.Ctime < before && s.Mtime < before
}

func wholeSecond(t int64) bool { return t%int64(time.Second) == 0 }
