// SPDX-License-Identifier: Apache-2.0

package glob

import (
	"fmt"
	"strings"
)

// maxWords bounds how many patterns one with braces stands for.
const maxWords = 256

// Expand returns the patterns that one with {a,b} stands for: "*.{c,h}" is
// "*.c" and "*.h". Braces do not stand inside braces, and hold no slash that
// starts or ends a word. Inside a set they are characters.
func Expand(pattern string) ([]string, error) {
	done := []string{""}
	for rest := pattern; ; {
		open := openBrace(rest)
		if open < 0 {
			return join(done, []string{rest})
		}
		body, after, ok := strings.Cut(rest[open+1:], "}")
		switch {
		case rest[open] == '}':
			return nil, fmt.Errorf("%w: %q closes a brace that is not open", ErrPattern, pattern)
		case !ok:
			return nil, fmt.Errorf("%w: %q opens a brace and does not close it", ErrPattern, pattern)
		case strings.Contains(body, "{"):
			return nil, fmt.Errorf("%w: %q has braces inside braces", ErrPattern, pattern)
		case !strings.Contains(body, ","):
			return nil, fmt.Errorf("%w: {%s} holds no comma; for a brace in a name write [{] and [}]", ErrPattern, body)
		}
		words := strings.Split(body, ",")
		for i, word := range words {
			words[i] = rest[:open] + word
		}
		var err error
		if done, err = join(done, words); err != nil {
			return nil, err
		}
		rest = after
	}
}

// openBrace returns the place of the first brace that is not in a set.
func openBrace(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{', '}':
			return i
		case '[':
			if end := setEnd(s[i:]); end > 0 {
				i += end - 1
			}
		}
	}
	return -1
}

func join(heads, tails []string) ([]string, error) {
	if len(heads)*len(tails) > maxWords {
		return nil, fmt.Errorf("%w: braces stand for more than %d patterns", ErrPattern, maxWords)
	}
	all := make([]string, 0, len(heads)*len(tails))
	for _, head := range heads {
		for _, tail := range tails {
			all = append(all, head+tail)
		}
	}
	return all, nil
}
