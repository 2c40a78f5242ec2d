// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// wholeTimes takes out times of day, and numbers that are times of the run.
func (g *guess) wholeTimes() func(int, []byte) []byte {
	// Seconds, thousandths of them, and so on.
	epochs, others := regexp.MustCompile(`\b[0-9]{10}(?:[0-9]{3}){0,3}(?:[.,][0-9]+)?\b`), times()
	return func(side int, text []byte) []byte {
		w := g.world(side)
		text = epochs.ReplaceAllFunc(text, func(digits []byte) []byte {
			const seconds = 10 // digits
			n, err := strconv.ParseInt(string(digits[:seconds]), 10, 64)
			if err != nil || !w.near(time.Unix(n, 0)) {
				return digits
			}
			return blank
		})
		return others.ReplaceAll(text, blank)
	}
}

// encodedTimes takes out base64 of text in which a time of day stands, or a number that
// is a time of the run.
func (g *guess) encodedTimes() func(int, []byte) []byte {
	encoded := regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}={0,2}`)
	return func(side int, text []byte) []byte {
		return encoded.ReplaceAllFunc(text, func(word []byte) []byte {
			plain := unbase64(word)
			if without := g.times.take(side, plain); isPrintable(plain) && !bytes.Equal(plain, without) {
				return without
			}
			return word
		})
	}
}

// unbase64 returns what a word stands for in one of the two alphabets, padded or not;
// nil for nothing.
func unbase64(word []byte) []byte {
	encoding := base64.RawStdEncoding
	if bytes.ContainsAny(word, "-_") {
		encoding = base64.RawURLEncoding
	}
	plain, err := encoding.DecodeString(string(bytes.TrimRight(word, "=")))
	if err != nil {
		return nil
	}
	return plain
}

// isPrintable reports whether b is a text: chance makes none of so many bytes.
func isPrintable(b []byte) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }
	return len(b) > 0 && utf8.Valid(b) && bytes.IndexFunc(b, odd) < 0
}

func (g *guess) world(side int) World { return []World{g.first, g.second}[side] }

// partsOfTimes takes out numbers that are what a clock showed while the step
// ran, in part: seconds of a minute, nanoseconds of a second, time since boot.
func (g *guess) partsOfTimes() func(int, []byte) []byte {
	numbers := regexp.MustCompile(`\b[0-9]+(?:[.,][0-9]+)?\b`)
	return func(side int, text []byte) []byte {
		w := g.world(side)
		return numbers.ReplaceAllFunc(text, func(n []byte) []byte {
			if w.hasPart(string(n)) || w.sinceBoot(string(n)) {
				return blank
			}
			return n
		})
	}
}

// hasPart reports whether digits are the seconds of a minute, or the fraction of
// a second, of a moment of the run. In a run that takes long too many numbers would
// be, but for nine digits, which hardly anything else has that is padded.
func (w World) hasPart(digits string) bool {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || w.Began.IsZero() {
		return false
	}
	whole, unit := time.Minute, time.Second
	switch len(digits) {
	case 2:
	case 3:
		whole, unit = time.Second, time.Millisecond
	case 5, 6:
		whole, unit = time.Second, time.Microsecond
	case 8, 9:
		whole, unit = time.Second, time.Nanosecond
	default:
		return false
	}
	began := w.Began.Truncate(unit) // the unit in which it began
	took := w.Ended.Sub(began)
	if took > whole/8 && len(digits) < 9 || time.Duration(n)*unit >= whole {
		return false
	}
	after := time.Duration(n)*unit - began.Sub(began.Truncate(whole))
	return (after+whole)%whole <= took
}

// sinceBoot reports whether a number is how long the machine had been up at a
// moment of the run: in seconds, or with five digits and more in parts of them.
func (w World) sinceBoot(number string) bool {
	const least = 5 // digits: smaller numbers stand for too much
	if w.Booted.IsZero() || len(number) < least {
		return false
	}
	n, err := strconv.ParseFloat(strings.Replace(number, ",", ".", 1), 64)
	if err != nil {
		return false
	}
	const slack = 50 * time.Millisecond // kernels round
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond, time.Nanosecond} {
		if n*float64(unit) > math.MaxInt64/2 {
			continue
		}
		at := w.Booted.Add(time.Duration(n * float64(unit)))
		if at.After(w.Began.Add(-slack)) && at.Before(w.Ended.Add(slack)) {
			return true
		}
	}
	return false
}

const (
	months = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*`
	days   = `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*`
	zones  = `(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})`
)

// times matches times of day and how long something took.
func times() *regexp.Regexp {
	return regexp.MustCompile(`(?:` + strings.Join([]string{
		`[0-9]{4}[-/.][0-9]{2}[-/.][0-9]{2}(?:[T_ ,-]*[0-9]{2}[:.-]?[0-9]{2}(?:[:.-]?[0-9]{2}(?:[.,][0-9]+)?)?)?(?:\s*` + zones + `)?`,
		`\b(?:19|20)[0-9]{6}(?:[T_-]?[0-9]{4,6}(?:[.][0-9]+)?)?Z?\b`,
		`\b` + days + `[, ]+`,
		`\b[0-9]{1,2}[ -]` + months + `[ -][0-9]{2,4}\b`,
		`\b` + months + `[ ]+[0-9]{1,2}\b(?:,? [0-9]{4}\b)?`,
		`\b[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:\s*[AP]M)?\b`,
		`\b[0-9]+(?:[.][0-9]+)?\s?(?:ns|us|µs|ms|s|secs?|seconds)\b`,
		`\b(?i:[mun]s|µs|[mun]?sec|tv_u?n?sec|(?:milli|micro|nano)(?:s|seconds?))["']?[ \t]*[:=][ \t]*["']?[0-9]+(?:[.][0-9]+)?\b`,
	}, "|") + `)`)
}

// near is how far from a run a number may lie to be taken for a time of it.
const near = 48 * time.Hour

// number8 reports whether a number that covers the beginning of the place is a time
// of the first run in one content and one of the second in the other. What else
// differs there is then taken for the parts of its second.
func (g *guess) number8(a, b []byte, r region) (first, second string, ok bool) {
	if g.first.Began.IsZero() || g.second.Began.IsZero() || r.to-r.from > 16 {
		return "", "", false
	}
	for _, size := range []int{4, 8} {
		for from := max(0, r.from-size+1); from <= r.from; from++ {
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
			time.UnixMilli, time.UnixMicro, func(n int64) time.Time { return time.Unix(n/1e9, n%1e9) }, floating, fileTime,
		} {
			all = append(all, func(b []byte) time.Time { return unit(int64(order.Uint64(b))) })
		}
	}
	return all
}

// floating is the time that a number of seconds stands for, given by its bits.
func floating(bits int64) time.Time {
	n := math.Float64frombits(uint64(bits))
	if !(n > 0 && n < math.MaxInt32*2) {
		return time.Time{}
	}
	return time.UnixMicro(int64(n * 1e6))
}

// fileTime is a time as Windows counts it: tenths of microseconds since 1601.
func fileTime(n int64) time.Time {
	const to1970 = 11_644_473_600 // seconds
	return time.Unix(n/1e7-to1970, n%1e7*100)
}
