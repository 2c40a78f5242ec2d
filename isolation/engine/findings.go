// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// findings are what is known of how a step ran besides what the pipeline says:
// the part of a receipt's step that a cached result brings along.
type findings struct {
	Engine     string          `json:"engine"`
	Image      string          `json:"image,omitempty"`
	ExitCode   int             `json:"exit_code"`
	Controls   []string        `json:"controls"`
	Caches     []string        `json:"caches,omitempty"`
	Secrets    []string        `json:"secrets,omitempty"`
	Fetched    []receipt.Fetch `json:"fetched,omitempty"`
	Unfetched  []string        `json:"unfetched,omitempty"`
	Read       []receipt.File  `json:"read,omitempty"`
	Programs   []receipt.File  `json:"programs,omitempty"`
	Missing    []string        `json:"missing,omitempty"`
	NoPrograms []string        `json:"missing_programs,omitempty"`
	Unread     []string        `json:"unread,omitempty"`
	Unseen     []string        `json:"unseen,omitempty"`
	Unexpected []string        `json:"unexpected,omitempty"`
	Modified   []string        `json:"modified,omitempty"`

	Reproduction *receipt.Reproduction `json:"reproduction,omitempty"`
}

// note takes what the executor found out into the facts.
func (w *walk) note(out executor.Outcome) {
	w.engine = out.Engine
	w.facts.ExitCode, w.facts.Controls = out.ExitCode, out.Controls
	w.facts.Read, w.facts.Programs = filesOf(out.Read), filesOf(out.Programs)
	w.facts.Missing, w.facts.MissingPrograms, w.facts.Unread = out.Missing, out.MissingPrograms, out.Unread
	if w.observed = out.Seen; w.observed != nil {
		w.unseen = w.observed.Unseen
	}
	w.facts.Unexpected, w.facts.Modified = out.Unexpected, out.Modified
	if w.fixed != nil {
		w.facts.Controls = append(slices.Clone(out.Controls), ControlEnvironment, ControlOutputTimes)
		slices.Sort(w.facts.Controls)
	}
	for _, c := range w.step.Caches {
		w.facts.Caches = append(w.facts.Caches, c.Name)
	}
	w.noteNetwork(out)
	w.maskFacts()
}

// noteNetwork takes what is known of a recorded network into the facts: also of a
// step that failed, or whose outcome is an error.
func (w *walk) noteNetwork(out executor.Outcome) {
	w.facts.Fetched = w.maskFetches(fetchesIn(out))
	w.facts.Unfetched = w.maskNames(append(refusals(out), out.Unrecorded...))
}

func fetchesIn(out executor.Outcome) []receipt.Fetch {
	var all []receipt.Fetch
	for _, f := range out.Fetched {
		all = append(all, receipt.Fetch(f))
	}
	return all
}

// told are the findings for whoever watches the run; nil where there are none.
func (w *walk) told() *event.Findings {
	f := &w.facts
	told := event.Findings{
		Fetched: urlsOf(f.Fetched), Unfetched: f.Unfetched,
		Traced: w.traces(), Read: paths(f.Read), Programs: paths(f.Programs),
		Missing: f.Missing, MissingPrograms: f.MissingPrograms, Unread: f.Unread, Unseen: w.unseen,
		Unexpected: f.Unexpected, Modified: f.Modified,
	}
	if f.Reproduction != nil {
		told.Reproduction, told.Varied = string(f.Reproduction.Verdict), f.Reproduction.Varied
	}
	if len(told.Read)+len(told.Programs)+len(told.Missing)+len(told.MissingPrograms)+len(told.Unread)+len(told.Unseen)+
		len(told.Unexpected)+len(told.Modified)+len(told.Fetched)+len(told.Unfetched) == 0 && told.Reproduction == "" {
		return nil
	}
	return &told
}

// urlsOf names what was fetched, each URL once.
func urlsOf(all []receipt.Fetch) []string {
	var urls []string
	for _, f := range all {
		urls = append(urls, f.URL)
	}
	return slices.Compact(urls)
}

func filesOf(all []executor.File) []receipt.File {
	var files []receipt.File
	for _, f := range all {
		files = append(files, receipt.File{Path: f.Path, Hash: f.Digest})
	}
	return files
}

// findings returns what is to be kept of the facts.
func (w *walk) findings() findings {
	f := &w.facts
	return findings{
		Engine: w.engine, Image: f.Image, ExitCode: f.ExitCode, Controls: f.Controls,
		Caches: f.Caches, Secrets: f.Secrets, Fetched: f.Fetched, Unfetched: f.Unfetched, Read: f.Read, Programs: f.Programs,
		Missing: f.Missing, NoPrograms: f.MissingPrograms, Unread: f.Unread, Unseen: w.unseen,
		Unexpected: f.Unexpected, Modified: f.Modified, Reproduction: f.Reproduction,
	}
}

// restate is the way back: what was true when the result was made stands in the
// receipt of every run that uses it.
func (w *walk) restate(k findings) {
	f := &w.facts
	f.Image, f.ExitCode, f.Controls = k.Image, k.ExitCode, k.Controls
	f.Caches, f.Secrets, f.Fetched, f.Read, f.Programs = k.Caches, k.Secrets, k.Fetched, k.Read, k.Programs
	f.Unfetched = k.Unfetched
	f.Missing, f.MissingPrograms, f.Unread, w.unseen = k.Missing, k.NoPrograms, k.Unread, k.Unseen
	f.Unexpected, f.Modified, f.Reproduction = k.Unexpected, k.Modified, k.Reproduction
}
