// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strconv"
	"strings"
)

// String returns the command as a receipt shows it. A script is verbatim. A
// list of words is written as a list, [cc -c "a b.c"]: a word that is empty or
// holds anything but letters, digits and -_./=:,@%+ is quoted as a Go string,
// so no two lists look the same.
func (c Command) String() string {
	switch {
	case c.Script != "":
		return c.Script
	case c.Shell != "":
		return c.Shell
	}
	words := make([]string, len(c.Argv))
	for i, word := range c.Argv {
		words[i] = word
		if word == "" || strings.ContainsFunc(word, needsQuotes) {
			words[i] = strconv.Quote(word)
		}
	}
	return "[" + strings.Join(words, " ") + "]"
}

func needsQuotes(r rune) bool {
	return !isAlnum(r) && !strings.ContainsRune("-_./=:,@%+", r)
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
