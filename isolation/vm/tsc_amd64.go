// SPDX-License-Identifier: Apache-2.0

package vm

import "time"

// readTSC reads the processor's time stamp counter.
func readTSC() uint64

// tscSpan is for how long the counter is watched. An error of a microsecond at
// either end makes the guest's clock wrong by less than a second in an hour.
const tscSpan = 10 * time.Millisecond

// tscKHz measures how fast the counter runs.
//
// An emulated machine has this host's counter. Its kernel would measure it
// against an emulated timer, and on a busy host fail to and hang.
func tscKHz() uint64 {
	clock := func() (time.Time, uint64) {
		// Of several readings the one that nothing came between.
		best := time.Duration(1 << 62)
		var at time.Time
		var count uint64
		for range 8 {
			before := time.Now()
			c := readTSC()
			after := time.Now()
			if d := after.Sub(before); d < best {
				best, at, count = d, before.Add(d/2), c
			}
		}
		return at, count
	}
	start, first := clock()
	time.Sleep(tscSpan)
	end, last := clock()
	return (last - first) * uint64(time.Millisecond) / uint64(end.Sub(start))
}
