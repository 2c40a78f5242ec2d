// SPDX-License-Identifier: Apache-2.0

package mask_test

import (
	"testing"

	"github.com/attest-pipeline/attest/isolation/mask"
)

func TestRecord(t *testing.T) {
	secrets, err := mask.New([]byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	r := mask.Record{Secrets: secrets, Passed: []string{"p\u00e4ss word", "abc"}}
	for text, want := range map[string]string{
		"https://a/hunter2/p%C3%A4ss%20word?t=p%C3%A4ss+word": "https://a/***/***?t=***",
		"p\u00e4ss word": "***",
		"abc":            "abc", // too short to be told from any other text
		"\xff":           "\uFFFD",
	} {
		if got := r.Name(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := (mask.Record{}).String("hunter2 \xff"); got != "hunter2 \xff" {
		t.Errorf("nothing masks %q", got)
	}
}
