// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reason is a cause with what stood there in both.
type reason struct {
	cause         Cause
	first, second string
}

// guess finds causes. Text is made equal step by step: what a cause explains is
// taken out of both sides, as long as that leaves less that differs. Random
// numbers, which look like anything, come last.
type guess struct {
	first, second World
	times, random step
	steps         []step // all but random
}

// step takes what one cause explains out of a piece of text of each side.
type step struct {
	cause Cause
	take  func(side int, text []byte) []byte
}

func newGuess(first, second World) *guess {
	g := &guess{first: first, second: second}
	g.times = step{Timestamp, g.wholeTimes()}
	g.random = step{Random, pattern(randoms())}
	g.steps = []step{
		{Path, g.literal(first.Paths, second.Paths)},
		{Hostname, g.literal(first.Hostnames, second.Hostnames)},
		g.times,
		{Timestamp, g.encodedTimes()},
		{Timestamp, g.partsOfTimes()},
		{Links, links()}, // before other numbers
		{CPUs, g.number(first.CPUs, second.CPUs)},
		{Umask, g.permissions()},
		{Order, func(_ int, text []byte) []byte { return sortWords(text) }},
	}
	return g
}

// blank stands for what was taken out.
var blank = []byte("\x00")

// literal takes out words that are known to differ: those of either side on
// both, so that one which stands in both alike hides nothing.
func (g *guess) literal(first, second []string) func(int, []byte) []byte {
	words := slices.Concat(first, second)
	if slices.Equal(first, second) {
		words = nil
	}
	return func(_ int, text []byte) []byte {
		for _, w := range words {
			if len(w) > 1 {
				text = bytes.ReplaceAll(text, []byte(w), blank)
			}
		}
		return text
	}
}

// number takes out a number where it is no part of another.
func (g *guess) number(first, second int) func(int, []byte) []byte {
	var exact [2]*regexp.Regexp
	if first != second && first > 0 && second > 0 {
		for side, n := range []int{first, second} {
			exact[side] = regexp.MustCompile(`\b` + strconv.Itoa(n) + `\b`)
		}
	}
	return func(side int, text []byte) []byte {
		if exact[side] == nil {
			return text
		}
		return exact[side].ReplaceAll(text, blank)
	}
}

// listed is the permissions of a file as ls writes them, or what stands for them once
// they were taken out.
const listed = `(?:[-dl](?:[r-][w-][xsStT-]){3}|\x00{3})`

// links takes out how many names a file has: the number that ls writes behind the
// permissions.
func links() func(int, []byte) []byte {
	p := regexp.MustCompile(`(` + listed + `[.+@]?)[ \t]+[0-9]+\b`)
	return func(_ int, text []byte) []byte { return p.ReplaceAll(text, []byte("$1 \x00")) }
}

// permissions takes out what shows a umask: itself, and the permissions of files
// as ls writes them.
func (g *guess) permissions() func(int, []byte) []byte {
	if g.first.Umask == g.second.Umask {
		return func(_ int, text []byte) []byte { return text }
	}
	// The first run's is the caller's, which nobody noted.
	return func(side int, text []byte) []byte {
		masks := []string{`0[0-7]{3}`, fmt.Sprintf(`0*%o`, g.second.Umask)}
		text = regexp.MustCompile(listed).ReplaceAll(text, bytes.Repeat(blank, 3))
		return regexp.MustCompile(`\b`+masks[side]+`\b`).ReplaceAll(text, blank)
	}
}

func pattern(p *regexp.Regexp) func(int, []byte) []byte {
	return func(_ int, text []byte) []byte { return p.ReplaceAll(text, blank) }
}

// randoms matches identifiers, and numbers that are none of those above, with what
// puts them in columns.
func randoms() *regexp.Regexp {
	return regexp.MustCompile(`[ \t]*(?:[0-9A-Za-z_+/=-]*[0-9][0-9A-Za-z_+/=-]*|[A-Za-z]{6,})`)
}

// sortWords puts the lines of a text in order, and the words of each.
func sortWords(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		words := bytes.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,;:{}[]()'\"", r) })
		slices.SortFunc(words, bytes.Compare)
		lines[i] = bytes.Join(words, []byte(" "))
	}
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, []byte("\n"))
}

// causes returns what two contents probably differ by, at least one cause.
func (g *guess) causes(a, b []byte) []reason {
	if isText(a) && isText(b) {
		return g.ofText(a, b)
	}
	return g.ofBinary(a, b)
}

func isText(b []byte) bool {
	const looked = 64 << 10
	b = b[:min(len(b), looked)]
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	for len(b) > looked-utf8.UTFMax && len(b) > 0 && !utf8.Valid(b) {
		b = b[:len(b)-1] // half a character at the end of what is looked at
	}
	return utf8.Valid(b)
}

// ofText takes out what the causes explain, the one that explains most first,
// until nothing differs.
func (g *guess) ofText(a, b []byte) []reason {
	a, b = middle(a, b)
	first, second := quote(a), quote(b)
	var all []reason
	for left := apart(a, b); left > 0; {
		best, x, y, differ := g.best(a, b, left)
		if differ == left {
			break
		}
		a, b, left = x, y, differ
		if !slices.ContainsFunc(all, func(r reason) bool { return r.cause == best }) {
			all = append(all, reason{best, first, second})
		}
	}
	if !bytes.Equal(a, b) {
		if !g.random.equal(a, b) {
			return []reason{{Unknown, first, second}}
		}
		all = append(all, reason{Random, first, second})
	}
	return all
}

// best takes out what the step explains that explains most, and returns what is
// then left on both sides, and how much of it differs.
func (g *guess) best(a, b []byte, left int) (cause Cause, x, y []byte, differ int) {
	x, y, differ = a, b, left
	for _, s := range g.steps {
		p, q := s.take(0, a), s.take(1, b)
		n := apart(p, q)
		// Of many words a few are the same in any order.
		if s.cause == Order && n > left/2 {
			continue
		}
		if n < differ {
			cause, x, y, differ = s.cause, p, q, n
		}
	}
	return cause, x, y, differ
}

func (s step) equal(a, b []byte) bool { return bytes.Equal(s.take(0, a), s.take(1, b)) }

// apart counts the words that differ, by their places.
func apart(a, b []byte) int {
	x, y := bytes.Fields(a), bytes.Fields(b)
	n := max(len(x), len(y)) - min(len(x), len(y))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			n++
		}
	}
	return n
}

// middle returns the lines in which two texts differ, from the first to the last.
func middle(a, b []byte) ([]byte, []byte) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	start := bytes.LastIndexByte(a[:i], '\n') + 1
	a, b = a[start:], b[start:]
	k := 0
	for k < len(a) && k < len(b) && a[len(a)-1-k] == b[len(b)-1-k] {
		k++
	}
	if next := bytes.IndexByte(a[len(a)-k:], '\n'); next >= 0 {
		k -= next
		return a[:len(a)-k], b[:len(b)-k]
	}
	return a, b
}

// quote returns the beginning of a text, safe to print.
func quote(b []byte) string {
	const most = 60
	tail := ""
	if len(b) > most {
		b, tail = b[:most], "..."
	}
	return strconv.Quote(string(b)) + tail
}

// region is a run of bytes that differ.
type region struct{ from, to int }

// mostRegions bounds how many places of a file are looked at.
const mostRegions = 200

// regions returns where two contents differ, places that are close to one
// another as one.
func regions(a, b []byte) []region {
	const close = 8
	var all []region
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if n := len(all); n > 0 && i-all[n-1].to < close {
			all[n-1].to = i + 1
			continue
		}
		if len(all) == mostRegions {
			return all
		}
		all = append(all, region{i, i + 1})
	}
	return all
}

// ofBinary looks at each place that differs, and for words that are known to
// differ in all of both.
func (g *guess) ofBinary(a, b []byte) []reason {
	votes := map[Cause]reason{}
	for cause, known := range map[Cause][2][]string{
		Path: {g.first.Paths, g.second.Paths}, Hostname: {g.first.Hostnames, g.second.Hostnames},
	} {
		x, y := holds(a, known[0]), holds(b, known[1])
		if x != "" && y != "" && x != y {
			votes[cause] = reason{cause, strconv.Quote(x), strconv.Quote(y)}
		}
	}
	all := regions(a, b)
	for _, r := range all {
		if cause, first, second := g.ofRegion(a, b, r); cause != "" {
			if _, ok := votes[cause]; !ok {
				votes[cause] = reason{cause, first, second}
			}
		}
	}
	// What is known explains identifiers that are made of it: of a build, say.
	if len(votes) > 1 {
		delete(votes, Random)
	}
	if len(votes) == 0 {
		first, second := middle(a, b)
		return []reason{{Unknown, quote(first), quote(second)}}
	}
	var found []reason
	for _, r := range votes {
		found = append(found, r)
	}
	slices.SortFunc(found, func(x, y reason) int { return cmp.Compare(x.cause, y.cause) })
	return found
}

// holds returns the first of the words that stands in b, empty for none.
func holds(b []byte, words []string) string {
	for _, w := range words {
		if len(w) > 1 && bytes.Contains(b, []byte(w)) {
			return w
		}
	}
	return ""
}

// ofRegion guesses from the bytes around one place.
func (g *guess) ofRegion(a, b []byte, r region) (Cause, string, string) {
	if first, second, ok := g.number8(a, b, r); ok {
		return Timestamp, first, second
	}
	x, y := words(a, r), words(b, r)
	if len(x) > 0 && len(y) > 0 {
		if g.times.equal(x, y) {
			return Timestamp, quote(x), quote(y)
		}
		if g.random.equal(x, y) {
			return Random, quote(x), quote(y)
		}
	}
	const dense = 4
	if r.to-r.from >= dense {
		return Random, strconv.Quote(string(a[r.from:min(r.to, r.from+16)])), strconv.Quote(string(b[r.from:min(r.to, r.from+16)]))
	}
	return "", "", ""
}

// words returns the printable text around a place.
func words(b []byte, r region) []byte {
	printable := func(c byte) bool { return c >= ' ' && c < 0x7f }
	const most = 64
	from, to := r.from, r.to
	for from > 0 && r.from-from < most && printable(b[from-1]) {
		from--
	}
	for to < len(b) && to-r.to < most && printable(b[to]) {
		to++
	}
	for _, c := range b[r.from:min(r.to, len(b))] {
		if !printable(c) {
			return nil
		}
	}
	return b[from:min(to, len(b))]
}
