// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"testing"

	"github.com/attest-pipeline/attest/frontend/source"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"a/b.go":         "a/b.go",
		"with space":     "with space",
		"żółć 漢字 🎉":      "żółć 漢字 🎉",
		`C:\dir`:         `C:\dir`,
		`say "no"`:       `say "no"`,
		"":               `""`,
		`"a"`:            `"\"a\""`,
		" a":             `" a"`,
		"a\nb":           `"a\nb"`,
		"\x01":           `"\x01"`,
		"\x1b[31mred":    `"\x1b[31mred"`,
		"\u009b31mred":   `"\u009b31mred"`,
		"gpj.\u202eexe":  `"gpj.\u202eexe"`,
		"no\u200bthing":  `"no\u200bthing"`,
		"no\u00a0break":  `"no\u00a0break"`,
		"not UTF-8\xff":  `"not UTF-8\xff"`,
		"was not \ufffd": "was not \ufffd",
	} {
		if got := source.Name(name); got != want {
			t.Errorf("Name(%q) = %s, want %s", name, got, want)
		}
	}
}
