// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"encoding/json"
	"slices"
	"strings"
)

// Answer is what became of a request that was let through.
type Answer struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	// SHA256 is that of the body, in hexadecimal digits; empty where no record
	// has it, and then Reason says why.
	SHA256 string `json:"sha256,omitempty"`
	Reason string `json:"reason,omitempty"`
}

const (
	reportPrefix = "attest-fetched "
	reportRows   = 100 // of one report: URLs are long, and messages bounded
)

// Reports returns the answers as the embedded engine tells them its client, each
// text in the name of a piece of progress, when a step has failed: BuildKit's
// provenance is of steps that succeeded. A step has no say in these; what it
// prints travels as a log.
func Reports(answers []Answer) []string {
	var all []string
	for rows := range slices.Chunk(answers, reportRows) {
		text, err := json.Marshal(rows)
		if err != nil {
			continue // cannot be: they are strings
		}
		all = append(all, reportPrefix+string(text))
	}
	return all
}

// ParseReport reads one of what [Reports] returned; ok is false for anything else.
func ParseReport(name string) (answers []Answer, ok bool) {
	text, ok := strings.CutPrefix(name, reportPrefix)
	if !ok || json.Unmarshal([]byte(text), &answers) != nil {
		return nil, false
	}
	return answers, true
}
