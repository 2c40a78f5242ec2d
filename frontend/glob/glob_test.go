// SPDX-License-Identifier: Apache-2.0

package glob_test

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/glob"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern      string
		match, other string // words
	}{
		{"a/b", "a/b", "a a/b/c b x/a/b"},
		{"*", "a .a a.b", "a/b"},
		{"*.o", "a.o .o b.c.o", "a.oo a/b.o"},
		{"a*b*c", "abc aXbYc abbc abcbc", "ab ac abcd"},
		{"?", "a é \xff", "ab "},
		{"a?", "aa a.", "a aaa"},
		{"**", "a a/b a/b/c", ""},
		{"**/a", "a b/a b/c/a", "a/b ab"},
		{"a/**", "a/b a/b/c", "a b/a"},
		{"a/**/b", "a/b a/x/b a/x/y/b a/b/b", "ab a/xb a/b/c"},
		{"**/a/**/b", "a/b x/a/y/b a/a/b/b", "b a a/c"},
		{"a/***/b", "a/b a/x/y/b", "a"},
		{"a**b", "ab axxb", "a/b"},
		{"[abc]", "a b c", "d ab"},
		{"[a-cx]", "a c x", "d -"},
		{"[!a-c]", "d é", "a b"},
		{"[^a]", "b", "a"},
		{"[]a]", "] a", "b"},
		{"[!]a]", "b", "] a"},
		{"[a-]", "a -", "b"},
		{"[--0]", "- . 0", "1"},
		{`[\]]x`, "]x", "x"},
		{`\*`, "*", "a"},
		{"[[:digit:][:upper:]]", "1 A", "a ."},
		{"[[:alpha:]-z]", "a - z", "1"},
		{"[[:alnum:]]", "a 1", "-"},
		{"[[:punct:]]", ". $", "a"},
		{"[[:xdigit:]]", "f 9", "g"},
		{"[[:a]b:]", "[b:] :b:] ab:]", "a"},
		{"ü[à-ö]", "üá", "üz"},
	} {
		g, err := glob.Compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, p := range strings.Fields(c.match) {
			if !g.Match(p) || !g.Covers(p) || !g.Covers(p+"/below") {
				t.Errorf("%s does not match %q", c.pattern, p)
			}
		}
		for _, p := range strings.Split(c.other, " ") {
			if p != "" && g.Match(p) {
				t.Errorf("%s matches %q", c.pattern, p)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, p := range []string{"", "/a", "a/", "a//b", "[a", "[", "[]", "[!]", `a\`, "[[:nope:]]", strings.Repeat("a/", 63) + "a"} {
		if _, err := glob.Compile(p); !errors.Is(err, glob.ErrPattern) {
			t.Errorf("%q: %v", p, err)
		}
	}
	if g, err := glob.Compile(strings.Repeat("a/", 62) + "**"); err != nil || !g.Match(strings.Repeat("a/", 62)+"x/y") {
		t.Errorf("63 components: %v", err)
	}
}

func TestBase(t *testing.T) {
	for pattern, want := range map[string]string{
		"a": "a", "a/b": "a/b", "a/*": "a", "a/b/**/c": "a/b", "*": ".", "**/a": ".", "a?/b": ".",
	} {
		g, err := glob.Compile(pattern)
		if err != nil || g.Base() != want {
			t.Errorf("%s: %q, %v", pattern, g.Base(), err)
		}
	}
	if top := (glob.Glob{}); top.Base() != "." || !top.Covers("a/b") || top.Match("a") {
		t.Error("the zero Glob is not the top")
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string][]string{
		"a":             {"a"},
		"*.{c,h}":       {"*.c", "*.h"},
		"{a,b}/{c,}x":   {"a/cx", "a/x", "b/cx", "b/x"},
		"[{]a,b[}]":     {"[{]a,b[}]"},
		"src/{a/b,c}/d": {"src/a/b/d", "src/c/d"},
	} {
		got, err := glob.Expand(pattern)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", pattern, err, diff)
		}
	}
	for _, pattern := range []string{"{a", "a}", "{a}", "{}", "{a,{b,c}}", "}{", strings.Repeat("{a,b}", 9)} {
		if got, err := glob.Expand(pattern); !errors.Is(err, glob.ErrPattern) {
			t.Errorf("%s: %q, %v", pattern, got, err)
		}
	}
}

// TestHard matches what makes a matcher that tries everything take for ever.
func TestHard(t *testing.T) {
	start := time.Now()
	name, err := glob.Compile(strings.Repeat("a*", 100) + "b")
	if err != nil || name.Match(strings.Repeat("a", 250)) {
		t.Error("name", err)
	}
	deep, err := glob.Compile(strings.Repeat("**/a/", 30) + "b")
	if err != nil || deep.Match(strings.Repeat("a/", 1000)+"c") {
		t.Error("path", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// FuzzMatch holds the matching of one name against path.Match, which knows the
// same language but for sets.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c[c-e]", "aXbYd")
	f.Add("*", "")
	f.Add(`\*?é*`, "*yéz")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := glob.Compile(pattern)
		if err != nil || name == "" {
			return
		}
		got := g.Match(name)
		if got && !g.Covers(name+"/x") {
			t.Errorf("%q matches %q and does not cover what is in it", pattern, name)
		}
		if strings.ContainsAny(pattern, "[/") || strings.Contains(name, "/") || strings.ToValidUTF8(name+pattern, "") != name+pattern {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && want != got {
			t.Errorf("%q and %q: %v, path.Match says %v", pattern, name, got, want)
		}
	})
}
