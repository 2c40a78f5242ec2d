// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/cachekey"
)

// ErrNotReproduced is matched by the error of a step that does not do again
// what [Options.Recorded] says that it did.
var ErrNotReproduced = errors.New("not reproduced")

// recorded returns what the step did in the run that is to be reproduced.
func (w *walk) recorded() (receipt.Step, bool) {
	s, ok := w.run.Recorded[w.step.Name]
	return s, ok
}

// sameWork wants the step to be the one that is recorded: its key says so. The
// key of a step with a secret, or a value of pass_env, is its project's own on one
// machine: then what the receipt says openly must be the same, and there must have
// been a value where there is one now.
func (w *walk) sameWork() error {
	r, ok := w.recorded()
	if !ok || r.Key == w.key.Digest {
		return nil
	}
	if len(w.secrets) > 0 || w.env.passesAny() {
		unset := make([]cachekey.Passed, len(w.env.passed))
		for i, p := range w.env.passed {
			unset[i].Name = p.Name
		}
		without, err := w.keyFor(unset)
		if err != nil {
			return err
		}
		if without.Digest != r.Key && w.openly(r) {
			return nil
		}
	}
	e := w.at(w.step.RunPos, "the step is not the one of the receipt: its command, environment, image, platform or inputs differ",
		"the receipt's key is "+r.Key.String()+", and here it is "+w.key.Digest.String(),
		"attest cache explain "+w.step.Name+" shows what it is made of")
	e.Err = ErrNotReproduced
	return e
}

// openly reports whether the step is the recorded one by all that a receipt says
// of it besides its key and its files.
func (w *walk) openly(r receipt.Step) bool {
	f := w.facts
	return f.Command == r.Command && f.Isolation == r.Isolation && f.Network == r.Network && f.Image == r.Image &&
		maps.Equal(f.Env, r.Env) && slices.Equal(f.PassEnv, r.PassEnv) &&
		slices.Equal(f.Secrets, r.Secrets) && slices.Equal(f.Caches, r.Caches)
}

// asRecorded wants the step to have left what is recorded, no more and no less.
func (w *walk) asRecorded(found tree.Found) error {
	r, ok := w.recorded()
	if !ok {
		return nil
	}
	left, err := tree.New(found.Entries)
	if err != nil {
		return err
	}
	lines := w.unlike(left, r.Outputs)
	if len(lines) == 0 {
		return nil
	}
	e := w.at(w.step.RunPos, "the outputs are not those of the receipt: "+some(lines),
		"attestation: {reproducible: true} runs the step twice and says what differs")
	e.Err = ErrNotReproduced
	return e
}

// unlike says in what the outputs differ from the rows of a receipt.
func (w *walk) unlike(left tree.Tree, rows []receipt.Path) (lines []string) {
	covered := map[string]bool{}
	for _, row := range rows {
		name, isFolder := strings.CutSuffix(row.Path, "/")
		if !isFolder {
			e, there := left.Find(name)
			covered[name] = true
			switch {
			case !there:
				lines = append(lines, row.Path+" is missing")
			case e.Digest != row.Hash:
				lines = append(lines, row.Path+" differs")
			case receipt.ModeOf(e) != row.Mode:
				lines = append(lines, fmt.Sprintf("%s has mode %s, not %s", row.Path, receipt.ModeOf(e), row.Mode))
			}
			continue
		}
		below := left.Below(name)
		if e, ok := left.Find(name); ok && e.Kind == tree.Dir {
			covered[name] = true // an empty folder
		}
		for _, e := range below.Entries() {
			covered[name+"/"+e.Path] = true
		}
		if below.Digest() != row.Hash {
			lines = append(lines, w.unlikeFolder(row, name, below)...)
		}
	}
	for _, e := range left.Entries() {
		if !covered[e.Path] {
			lines = append(lines, e.Path+" is new")
		}
	}
	return lines
}

// unlikeFolder names files where the listing of the folder is kept.
func (w *walk) unlikeFolder(row receipt.Path, name string, now tree.Tree) (lines []string) {
	was, err := listing(w.run.Root, row.Hash)
	if err != nil {
		return []string{row.Path + " differs"}
	}
	for _, e := range was.Entries() {
		other, there := now.Find(e.Path)
		switch {
		case !there:
			lines = append(lines, name+"/"+e.Path+" is missing")
		case other.Digest != e.Digest || other.Kind != e.Kind || other.Mode() != e.Mode():
			lines = append(lines, name+"/"+e.Path+" differs")
		}
	}
	for _, e := range now.Entries() {
		if _, there := was.Find(e.Path); !there {
			lines = append(lines, name+"/"+e.Path+" is new")
		}
	}
	return lines
}

// listing reads the listing of a folder that a run kept beside its receipt. It
// is evidence of nothing but its own digest.
func listing(root string, hash digest.Digest) (tree.Tree, error) {
	text, err := os.ReadFile(filepath.Join(root, stateDir, receipt.ListingsDir, hash.Hex()))
	if err != nil {
		return tree.Tree{}, err
	}
	if digest.Of(text) != hash {
		return tree.Tree{}, errors.New("a listing was changed")
	}
	return tree.ParseListing(text)
}
