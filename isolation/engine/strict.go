// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// What --strict refuses is in this file, in two parts: what a step asks for,
// before it runs, and what it was found to have done. What it hides is the
// executors' business.

// refuseUnderStrict is the first part.
func (w *walk) refuseUnderStrict() error {
	if !w.run.Strict {
		return nil
	}
	if len(w.step.Caches) > 0 {
		c := w.step.Caches[0]
		return w.at(c.Pos, fmt.Sprintf("the cache %s is refused under --strict: what is in it is nobody's output", c.Name),
			"fetch what the step needs in a step of its own, and make that an output")
	}
	switch w.step.Network {
	case pipeline.NetworkOpen:
		return w.at(w.step.NetworkPos, "network: open is refused under --strict: nobody knows what came over it",
			"write network: recorded")
	case pipeline.NetworkHost:
		return w.at(w.networkPos(), "the host's network is refused under --strict: nobody knows what came over it",
			"write network: none, or give the step an image and network: recorded")
	}
	return nil
}

// strictFindings is the second part. Without --strict the end of the step tells
// it, and that is all.
func (w *walk) strictFindings() error {
	if !w.run.Strict {
		return nil
	}
	for _, f := range []struct {
		what  string
		paths []string
	}{
		{"wrote outside its outputs", w.facts.Unexpected},
		{"changed its inputs", w.facts.Modified},
		{"read without declaring it", paths(w.facts.Read)},
	} {
		if len(f.paths) > 0 {
			return w.at(w.step.RunPos, fmt.Sprintf("under --strict: the step %s: %s", f.what, some(f.paths)))
		}
	}
	return nil
}

func paths(files []receipt.File) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	return names
}

// some names the first few of many.
func some(names []string) string {
	const most = 5
	shown := slices.Clone(names[:min(len(names), most)])
	for i, n := range shown {
		shown[i] = source.Name(n)
	}
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), len(names)-most)
	}
	return strings.Join(shown, ", ")
}
