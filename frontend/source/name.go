// SPDX-License-Identifier: Apache-2.0

package source

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Name returns the name of a file for a message: as it is, or as a Go string where
// something of it would not be seen, or could be taken for what stands around it.
func Name(name string) string {
	hidden := func(r rune) bool { return !strconv.IsPrint(r) }
	if name == "" || name[0] == '"' || strings.TrimSpace(name) != name || !utf8.ValidString(name) || strings.IndexFunc(name, hidden) >= 0 {
		return strconv.Quote(name)
	}
	return name
}
