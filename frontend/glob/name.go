// SPDX-License-Identifier: Apache-2.0

package glob

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// name matches one component of a path.
type name struct {
	items []item
	// suffix is set for a pattern of one * and a literal end, the most common
	// of all; items is not looked at then.
	suffix string
}

// item is one character, one out of a set, or a star.
type item struct {
	star bool
	set  *set // nil: the rune alone, or any where rune is anyRune
	char rune
}

const anyRune = -2

func compileName(text string) (*name, error) {
	n := &name{}
	for rest := text; rest != ""; {
		size := 1
		switch {
		case rest[0] == '*':
			if k := len(n.items); k == 0 || !n.items[k-1].star {
				n.items = append(n.items, item{star: true})
			}
		case rest[0] == '?':
			n.items = append(n.items, item{char: anyRune})
		case rest[0] == '[':
			if size = setEnd(rest); size == 0 {
				return nil, fmt.Errorf("%w: %q opens a set with [ and does not close it", ErrPattern, text)
			}
			s, err := compileSet(rest[1 : size-1])
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item{set: s})
		case rest[0] == '\\' && len(rest) == 1:
			return nil, fmt.Errorf(`%w: %q ends with \`, ErrPattern, text)
		default:
			if rest[0] == '\\' {
				rest = rest[1:]
			}
			var r rune
			r, size = decode(rest)
			n.items = append(n.items, item{char: r})
		}
		rest = rest[size:]
	}
	if tail := text[1:]; text[0] == '*' && tail != "" && !HasWildcard(tail) {
		n.suffix = tail
	}
	return n, nil
}

// decode returns the first character of s; a byte that is no UTF-8 is one of
// its own, below every real character.
func decode(s string) (rune, int) {
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 {
		return -1000 - rune(s[0]), 1
	}
	return r, size
}

// match goes back to the last star only: what an earlier star could take, the
// last one can.
func (n *name) match(s string) bool {
	if n.suffix != "" {
		return strings.HasSuffix(s, n.suffix)
	}
	i, star, again := 0, -1, ""
	for {
		if i < len(n.items) && n.items[i].star {
			star, again = i, s
			i++
			continue
		}
		if s == "" {
			return i == len(n.items)
		}
		r, size := decode(s)
		if i < len(n.items) && n.items[i].has(r) {
			i, s = i+1, s[size:]
			continue
		}
		if star < 0 {
			return false
		}
		_, size = decode(again)
		again = again[size:]
		i, s = star+1, again
	}
}

func (it *item) has(r rune) bool {
	switch {
	case it.set != nil:
		return it.set.has(r)
	case it.char == anyRune:
		return true
	default:
		return it.char == r
	}
}

// set is what stands between [ and ].
type set struct {
	not     bool
	ranges  [][2]rune
	classes []func(rune) bool
}

func (s *set) has(r rune) bool {
	in := slices.ContainsFunc(s.ranges, func(x [2]rune) bool { return x[0] <= r && r <= x[1] }) ||
		slices.ContainsFunc(s.classes, func(is func(rune) bool) bool { return is(r) })
	return in != s.not
}

// setEnd returns the length of the set that s opens, 0 when it does not close.
func setEnd(s string) int {
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		i++
	}
	for first := true; i < len(s); first = false {
		switch {
		case s[i] == ']' && !first:
			return i + 1
		case s[i] == '\\':
			i += 2
		default:
			_, rest, _ := cutClass(s[i:])
			i = len(s) - len(rest)
		}
	}
	return 0
}

// cutClass cuts [:class:] from the start of s; where none is, one byte.
func cutClass(s string) (class, rest string, found bool) {
	if strings.HasPrefix(s, "[:") {
		if end := strings.IndexByte(s[2:], ']'); end > 0 && s[2+end-1] == ':' {
			return s[2 : 2+end-1], s[2+end+1:], true
		}
	}
	return "", s[1:], false
}

func compileSet(body string) (*set, error) {
	s := &set{}
	if body[0] == '!' || body[0] == '^' {
		s.not, body = true, body[1:]
	}
	for body != "" {
		if class, rest, found := cutClass(body); found {
			is := classOf(class)
			if is == nil {
				return nil, fmt.Errorf("%w: no class of characters is called %q", ErrPattern, class)
			}
			s.classes, body = append(s.classes, is), rest
			continue
		}
		low, rest := setChar(body)
		high := low
		if len(rest) > 1 && rest[0] == '-' {
			high, rest = setChar(rest[1:])
		}
		s.ranges, body = append(s.ranges, [2]rune{low, high}), rest
	}
	return s, nil
}

func setChar(s string) (rune, string) {
	if s[0] == '\\' && len(s) > 1 {
		s = s[1:]
	}
	r, size := decode(s)
	return r, s[size:]
}

// classOf returns the POSIX class of this name, for ASCII; nil where there is
// none.
func classOf(class string) func(rune) bool {
	ascii := func(is func(rune) bool) func(rune) bool {
		return func(r rune) bool { return 0 <= r && r <= unicode.MaxASCII && is(r) }
	}
	switch class {
	case "alnum":
		return ascii(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
	case "alpha":
		return ascii(unicode.IsLetter)
	case "blank":
		return ascii(func(r rune) bool { return r == ' ' || r == '\t' })
	case "cntrl":
		return ascii(unicode.IsControl)
	case "digit":
		return ascii(unicode.IsDigit)
	case "graph":
		return ascii(func(r rune) bool { return r > ' ' && r < 0x7f })
	case "lower":
		return ascii(unicode.IsLower)
	case "print":
		return ascii(func(r rune) bool { return r >= ' ' && r < 0x7f })
	case "punct":
		return ascii(func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) })
	case "space":
		return ascii(unicode.IsSpace)
	case "upper":
		return ascii(unicode.IsUpper)
	case "xdigit":
		return ascii(func(r rune) bool { return unicode.Is(unicode.ASCII_Hex_Digit, r) })
	default:
		return nil
	}
}
