// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"encoding/binary"
	"time"
)

// near is how far from a run a number may lie to be taken for a time of it.
const near = 48 * time.Hour

// number8 reports whether a number that covers the place is a time of the first
// run in one content and one of the second in the other.
func (g *guess) number8(a, b []byte, r region) (first, second string, ok bool) {
	if g.first.Began.IsZero() || g.second.Began.IsZero() || r.to-r.from > 8 {
		return "", "", false
	}
	for _, size := range []int{4, 8} {
		for from := max(0, r.to-size); from <= r.from; from++ {
			if from+size > len(a) || from+size > len(b) {
				break
			}
			for _, read := range readers(size) {
				x, y := read(a[from:]), read(b[from:])
				if g.first.near(x) && g.second.near(y) {
					return timeText(x), timeText(y), true
				}
			}
		}
	}
	return "", "", false
}

// near reports whether t lies close to the run.
func (w World) near(t time.Time) bool {
	return t.After(w.Began.Add(-near)) && t.Before(w.Ended.Add(near))
}

// readers are the ways in which programs write a time as a number.
func readers(size int) []func([]byte) time.Time {
	seconds := func(n uint64) time.Time { return time.Unix(int64(n), 0) }
	if size == 4 {
		return []func([]byte) time.Time{
			func(b []byte) time.Time { return seconds(uint64(binary.LittleEndian.Uint32(b))) },
			func(b []byte) time.Time { return seconds(uint64(binary.BigEndian.Uint32(b))) },
		}
	}
	var all []func([]byte) time.Time
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, unit := range []func(int64) time.Time{
			time.UnixMilli, time.UnixMicro, func(n int64) time.Time { return time.Unix(n/1e9, n%1e9) },
		} {
			all = append(all, func(b []byte) time.Time { return unit(int64(order.Uint64(b))) })
		}
	}
	return all
}
