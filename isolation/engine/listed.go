// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Of a folder that a step listed, what comes to be in it may matter. Where the step declares files of the folder, its patterns say which
// ones, and nothing else is asked; of other folders the names are remembered, less
// what steps leave, which comes and goes.

// mostListed bounds how many folders are remembered of a step: they are all read
// again before its result is used.
const mostListed = 1000

// list returns, of the folders that the step read, those in which it declares
// nothing, with digests of the names in them, for a result that may be kept; and
// those of them that changed since the step began. In a folder with outputs, which
// were moved meanwhile, that cannot be told.
func (w *walk) list(read []string) (listed []receipt.File, changed []string) {
	if w.facts.Cache != receipt.Miss || w.step.AllInputs || w.run.Strict || len(read) == 0 {
		return nil, nil
	}
	declared := map[string]bool{}
	for _, e := range w.inputs.tree.Entries() {
		declared[path.Dir(e.Path)] = true
	}
	for _, dir := range read {
		if declared[dir] || w.run.Plan.Left(dir) || w.clean(dir) != dir {
			continue
		}
		names, err := w.run.namesIn(dir)
		if err != nil || !w.run.Plan.Holds(dir) && w.touched(dir) {
			changed = append(changed, dir)
			continue
		}
		if listed = append(listed, receipt.File{Path: dir, Hash: names}); len(listed) == mostListed {
			break
		}
	}
	return listed, changed
}

// touched reports whether a folder was changed since the step began.
func (w *walk) touched(dir string) bool {
	info, err := w.run.root.Lstat(filepath.FromSlash(dir))
	return err != nil || tree.StatOf(info).Ctime >= w.stamp
}

// relisted returns the folders in which other names stand than when the result was
// made.
func (w *walk) relisted(made stepFacts) []string {
	var changed []string
	for _, f := range made.Listed {
		if names, err := w.run.namesIn(f.Path); err != nil || names != f.Hash {
			changed = append(changed, f.Path)
		}
	}
	return changed
}

// namesIn returns a digest of the names in a folder of the project, without what
// steps leave.
func (r *run) namesIn(dir string) (digest.Digest, error) {
	names, err := newFolders(r.root).read(dir)
	if err != nil {
		return digest.Digest{}, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		p := path.Join(dir, name)
		return r.Plan.Left(p) || r.Plan.Holds(p)
	})
	slices.Sort(names)
	return digest.Of([]byte(strings.Join(names, "\x00"))), nil
}
