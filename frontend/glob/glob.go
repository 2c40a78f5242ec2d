// SPDX-License-Identifier: Apache-2.0

// Package glob matches paths against patterns with wildcards, folder by folder,
// so that a walk knows where a pattern can still match.
//
// Start with [Compile]. The language, for one component of a path: * is any
// number of characters, ? is one, [abc], [a-z] and [!a] are one out of a set,
// [[:alpha:]] and its like included. A component ** is any number of folders,
// none included; at the end of a pattern it is everything below. A leading dot
// is a character like any other. {a,b} is one of several words; [Expand] turns
// it into patterns without it.
//
// Values do not change after they were made and are safe for concurrent use.
package glob

import (
	"errors"
	"fmt"
	"strings"
)

// Glob is a compiled pattern. The zero Glob matches the top, ".", alone.
type Glob struct {
	parts []part
}

// part matches one component of a path, or any number of them.
type part struct {
	literal string
	name    *name // nil for a literal and for any
	any     bool  // **
}

// maxParts is what fits in a [State], one bit per component and one for the end.
const maxParts = 63

// ErrPattern is matched by every error of [Compile] and [Expand].
var ErrPattern = errors.New("invalid pattern")

// Compile reads a pattern of components with slashes between them and none at
// its ends. In a component, ** beside other characters is the same as *.
func Compile(pattern string) (Glob, error) {
	texts := split(pattern)
	if len(texts) > maxParts {
		return Glob{}, fmt.Errorf("%w: more than %d folders deep", ErrPattern, maxParts)
	}
	g := Glob{parts: make([]part, len(texts))}
	for i, text := range texts {
		switch {
		case text == "":
			return Glob{}, fmt.Errorf("%w: an empty component", ErrPattern)
		case len(text) > 1 && strings.Trim(text, "*") == "":
			g.parts[i].any = true
		case HasWildcard(text):
			n, err := compileName(text)
			if err != nil {
				return Glob{}, err
			}
			g.parts[i].name = n
		default:
			g.parts[i].literal = text
		}
	}
	return g, nil
}

// HasWildcard reports whether text has a character with a meaning in patterns.
func HasWildcard(text string) bool { return strings.ContainsAny(text, `*?[\`) }

// split cuts at the slashes that are not inside a set.
func split(pattern string) []string {
	if !strings.Contains(pattern, "[") {
		return strings.Split(pattern, "/")
	}
	var parts []string
	start := 0
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '[':
			if end := setEnd(pattern[i:]); end > 0 {
				i += end - 1
			}
		case '/':
			parts = append(parts, pattern[start:i])
			start = i + 1
		}
	}
	return append(parts, pattern[start:])
}

// Base returns the longest folder that holds everything the pattern can match,
// "." for the top; for a pattern without wildcards, the path itself.
func (g Glob) Base() string {
	n := 0
	for n < len(g.parts) && g.parts[n].literal != "" {
		n++
	}
	if n == 0 {
		return "."
	}
	texts := make([]string, n)
	for i := range texts {
		texts[i] = g.parts[i].literal
	}
	return strings.Join(texts, "/")
}

// State is how far a pattern has matched at some folder: a set of places
// between its components. The zero State matches nothing below.
type State uint64

// Start is the state at the top, before the first component.
func (g Glob) Start() State { return g.reach(1) }

// reach adds the places that ** lets one get to without a component.
func (g Glob) reach(s State) State {
	for i := range g.parts {
		if s&(1<<i) != 0 && g.parts[i].any && i+1 < len(g.parts) {
			s |= 1 << (i + 1)
		}
	}
	return s
}

// Step returns the state below the folder, or at the file, of this name.
func (g Glob) Step(s State, name string) State {
	var next State
	for i := range g.parts {
		if s&(1<<i) == 0 {
			continue
		}
		switch p := &g.parts[i]; {
		case p.any && i+1 == len(g.parts):
			next |= 1<<i | 1<<(i+1)
		case p.any:
			next |= 1 << i
		case p.name != nil && p.name.match(name), p.name == nil && p.literal == name:
			next |= 1 << (i + 1)
		}
	}
	return g.reach(next)
}

// Matches reports whether the pattern matches the path that led to s.
func (g Glob) Matches(s State) bool { return s&(1<<len(g.parts)) != 0 }

// Open reports whether the pattern can match something below the path that
// led to s.
func (g Glob) Open(s State) bool { return s&^(1<<len(g.parts)) != 0 }

// Match reports whether the pattern matches path, which is clean and relative.
func (g Glob) Match(path string) bool {
	s := g.Start()
	for s != 0 {
		name, rest, more := strings.Cut(path, "/")
		if s = g.Step(s, name); !more {
			return g.Matches(s)
		}
		path = rest
	}
	return false
}

// Covers reports whether the pattern matches path, which is clean and
// relative, or a folder that path is in.
func (g Glob) Covers(path string) bool {
	s := g.Start()
	for !g.Matches(s) {
		if path == "" || s == 0 {
			return false
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		s = g.Step(s, name)
	}
	return true
}
