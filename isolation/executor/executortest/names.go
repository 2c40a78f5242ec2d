// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"strings"
	"testing"
)

// testNames has files with names that a file system allows, as inputs and as
// outputs.
func (s *suite) testNames(t *testing.T) {
	for _, test := range []struct{ name, file string }{
		{"space", " a b "},
		{"unicode", "zażółć ☃"},
		{"composed", "e\u0301"},
		{"newline", "a\nb"},
		{"control", "a\tb\rc\x1b[31m\x7f"},
		{"dash", "-n"},
		{"dots", "..a"},
		{"hidden", ".hidden"},
		{"wildcard", "*[a]?{b}"},
		{"backslash", `a\b\n`},
		{"quotes", `'"` + "`$HOME`"},
		{"colon", "a:b=c,d"},
		{"not UTF-8", "a\xff\xfeb"},
		{"long", strings.Repeat("x", 255)},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			p.write("in/"+test.file, "x\n", 0o755)
			got := p.run(p.shell(`mkdir out; for f in in/* in/.[!.]* in/..?*; do if test -e "$f"; then cp -- "$f" out/; fi; done`, "out/"))
			got.wantExit(t, 0)
			p.wantStaging(map[string]string{"out/" + test.file: "0755 x\n"})
		})
	}
}
