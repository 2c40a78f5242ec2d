// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/process"
)

// runResult is what a run came to, for --json.
type runResult struct {
	Status     receipt.Status `json:"status"`
	Receipt    string         `json:"receipt"`
	Statements []string       `json:"statements,omitempty"`
	Signed     bool           `json:"signed"`
	Duration   float64        `json:"total_duration_secs"`
	Steps      []stepResult   `json:"steps"`
	Verified   *verifyResult  `json:"verification,omitempty"`
}

type stepResult struct {
	Name     string           `json:"name"`
	Status   receipt.Status   `json:"status"`
	ExitCode int              `json:"exit_code"`
	Duration float64          `json:"duration_secs"`
	Cache    receipt.CacheUse `json:"cache"`
	Error    string           `json:"error,omitempty"`
	// What the step did besides what it declared: fields of a receipt, of which
	// the files are named without their hashes.
	Fetched         []receipt.Fetch       `json:"fetched,omitempty"`
	Unfetched       []string              `json:"unfetched,omitempty"`
	Read            []string              `json:"read,omitempty"`
	Programs        []string              `json:"programs,omitempty"`
	Missing         []string              `json:"missing,omitempty"`
	MissingPrograms []string              `json:"missing_programs,omitempty"`
	Unread          []string              `json:"unread,omitempty"`
	Unexpected      []string              `json:"unexpected,omitempty"`
	Modified        []string              `json:"modified,omitempty"`
	Reproduction    *receipt.Reproduction `json:"reproduction,omitempty"`
}

func describeRun(r *receipt.Receipt) *runResult {
	result := &runResult{Status: r.Status, Duration: r.Duration.Seconds()}
	for _, s := range r.Steps {
		result.Steps = append(result.Steps, stepResult{
			Name: s.Name, Status: s.Status, ExitCode: s.ExitCode,
			Duration: s.Duration.Seconds(), Cache: s.Cache, Error: s.Error,
			Fetched: s.Fetched, Unfetched: s.Unfetched,
			Read: names(s.Read), Programs: names(s.Programs), Missing: s.Missing, MissingPrograms: s.MissingPrograms,
			Unread: s.Unread, Unexpected: s.Unexpected, Modified: s.Modified, Reproduction: s.Reproduction,
		})
	}
	return result
}

func names(files []receipt.File) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.Path)
	}
	return all
}

// exposed returns the process steps that ran and could have read the keys.
func exposed(r *receipt.Receipt) []string {
	var names []string
	for _, s := range r.Steps {
		if s.Isolation == string(pipeline.Process) && s.Status == receipt.Succeeded &&
			!slices.Contains(s.Controls, process.ControlKeysHidden) {
			names = append(names, s.Name)
		}
	}
	return names
}
