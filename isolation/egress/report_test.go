// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/attest-pipeline/attest/isolation/egress"
)

// What an engine tells arrives, in pieces where it is long; what a step could
// print is nothing of it.
func TestReports(t *testing.T) {
	var told, heard []egress.Answer
	for i := range 1234 {
		told = append(told, egress.Answer{Method: "GET", URL: fmt.Sprintf("https://example.org/%d?\u2028 \"", i), SHA256: "12"},
			egress.Answer{Method: "POST", URL: "http://example.org/", Reason: fmt.Sprint(i)})
	}
	texts := egress.Reports(told)
	for _, text := range texts {
		answers, ok := egress.ParseReport(text)
		if !ok {
			t.Fatalf("not read: %s", text)
		}
		heard = append(heard, answers...)
	}
	if !slices.Equal(heard, told) || len(texts) < 10 {
		t.Errorf("%d answers in %d reports arrived as %d", len(told), len(texts), len(heard))
	}
	if len(egress.Reports(nil)) > 0 {
		t.Error("nothing is told in words")
	}
	for _, text := range []string{"", "[]", "attest-fetched ", "attest-fetched {}", "attest-vm {}"} {
		if answers, ok := egress.ParseReport(text); ok {
			t.Errorf("%q was read as %v", text, answers)
		}
	}
}
