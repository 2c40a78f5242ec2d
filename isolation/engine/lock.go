// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/egress"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// ErrNotLocked is matched by errors about what attest.lock does not have, or
// has otherwise, where [Options.Locked] wants it so.
var ErrNotLocked = errors.New("not as attest.lock has it")

const (
	hintLock   = "attest pipeline lock writes it as it is now"
	hintUpdate = "if the new one is right: attest run --update"
)

// CheckLocked returns an error for every image of the plan that is not locked;
// it matches [ErrNotLocked].
func CheckLocked(p *plan.Plan, l *lock.Lock) error {
	var errs []*source.Error
	for _, s := range p.Steps {
		if _, ok := l.Image(s.Image); ok || s.Image == "" || named(s.Image) {
			continue
		}
		errs = append(errs, &source.Error{
			Pos: s.RunPos, Snippet: p.Pipeline.File.Line(s.RunPos.Line), Err: ErrNotLocked,
			Msg: fmt.Sprintf("attest.lock does not have the image %s of step %s", s.Image, s.Name), Hints: []string{hintLock},
		})
	}
	return source.Join(errs)
}

// named reports whether an image is named by digest.
func named(image string) bool {
	_, err := imageDigest(image)
	return err == nil
}

// lockedImage returns the image by the digest that attest.lock has.
func (w *walk) lockedImage() (string, bool) {
	d, ok := w.run.Lock.Image(w.step.Image)
	if !ok || named(w.step.Image) {
		return "", false
	}
	return w.step.Image + "@" + d.String(), true
}

// imageToRun is how the executor is told of the image: by digest where it is
// locked, so that it asks nobody what the name stands for.
func (w *walk) imageToRun() string {
	if pinned, ok := w.lockedImage(); ok {
		return pinned
	}
	return w.step.Image
}

// lockedFetches returns what the step is to fetch by attest.lock; nil where
// that does not say.
func (w *walk) lockedFetches() map[string]digest.Digest {
	if w.step.Network != pipeline.NetworkRecorded {
		return nil
	}
	if w.run.Update { // what it fetched is what will be locked
		return fetchesOf(w.facts.Fetched)
	}
	return w.run.Lock.Fetches(w.step.Name)
}

func fetchesOf(all []receipt.Fetch) map[string]digest.Digest {
	fetched := make(map[string]digest.Digest, len(all))
	for _, f := range all {
		fetched[f.URL] = f.SHA256
	}
	return fetched
}

// lockedURLs is what the executor is told to let through; nil for anything.
func (w *walk) lockedURLs() *executor.Locked {
	if !w.run.Locked || w.step.Network != pipeline.NetworkRecorded {
		return nil
	}
	return &executor.Locked{
		URLs:   slices.Sorted(maps.Keys(w.run.Lock.Fetches(w.step.Name))),
		Passed: w.env.passedValues(),
	}
}

// disagreements says, a line for each, where what was fetched is not as
// attest.lock has it.
func (w *walk) disagreements(fetched []receipt.Fetch) []string {
	locked := w.run.Lock.Fetches(w.step.Name)
	var lines []string
	for _, f := range fetched {
		want, ok := locked[f.URL]
		if ok && want == f.SHA256 || !ok && lockedByPage(locked, f) {
			continue
		}
		if !ok {
			lines = append(lines, fmt.Sprintf("fetched %s: attest.lock does not have it; got %v", f.URL, f.SHA256))
			continue
		}
		lines = append(lines, fmt.Sprintf("fetched %s: attest.lock wants %v; got %v", f.URL, want, f.SHA256))
	}
	return lines
}

// lockedByPage reports whether the lock has the content under a URL that
// differs behind the question mark alone.
func lockedByPage(locked map[string]digest.Digest, f receipt.Fetch) bool {
	for url, want := range locked {
		if want == f.SHA256 && egress.Page(url) == egress.Page(f.URL) {
			return true
		}
	}
	return false
}

// ambiguous returns the URLs that stand for several contents, which happens where
// a secret is the difference between them: a lock cannot tell which is meant.
func ambiguous(all []receipt.Fetch) []string {
	var urls []string
	digests := make(map[string]digest.Digest, len(all))
	for _, f := range all {
		if d, ok := digests[f.URL]; ok && d != f.SHA256 {
			urls = append(urls, f.URL)
		}
		digests[f.URL] = f.SHA256
	}
	return slices.Compact(urls)
}

// compareLock compares what the step fetched, and was not let fetch, with
// attest.lock: an error where the run is to keep to it, a warning elsewhere. What
// is to become a lock must be fit for one.
func (w *walk) compareLock(out executor.Outcome) error {
	if w.step.Network != pipeline.NetworkRecorded {
		return nil
	}
	if urls := ambiguous(w.facts.Fetched); w.run.Update && len(urls) > 0 {
		e := w.at(w.networkPos(), "it fetched different files from URLs that are the same without secrets, which attest.lock cannot tell apart: "+some(urls),
			"attest.lock holds no secret: have the step fetch them by URLs that differ otherwise, or hand the secret over in a header")
		return &StepError{ExitCode: out.ExitCode, Err: e}
	}
	var lines []string
	for _, no := range out.Refused {
		if no.NotLocked {
			lines = append(lines, no.Why)
		}
	}
	if w.run.Lock != nil {
		lines = append(lines, w.disagreements(w.facts.Fetched)...)
	}
	switch {
	case len(lines) == 0:
		return nil
	case w.run.Locked:
		e := w.at(w.networkPos(), lines[0], append(lines[1:], hintUpdate)...)
		e.Err = ErrNotLocked
		return &StepError{ExitCode: out.ExitCode, Err: e}
	}
	for _, line := range lines {
		w.warn(line)
	}
	return nil
}

// refusals are the requests that a recorded network did not let through.
func refusals(out executor.Outcome) []string {
	var lines []string
	for _, no := range out.Refused {
		lines = append(lines, no.URL+": "+no.Why)
	}
	return lines
}

// networkPos is the place of the step's network in attest.yaml.
func (w *walk) networkPos() source.Pos {
	if w.step.NetworkPos.IsZero() {
		return w.step.RunPos
	}
	return w.step.NetworkPos
}

// NewLock returns what a run found names to stand for: images of steps that
// were reached, fetches of recorded steps that succeeded.
func (r *Record) NewLock(p *pipeline.Pipeline) *lock.Lock {
	found := &lock.Lock{Images: map[string]digest.Digest{}, Steps: map[string]map[string]digest.Digest{}}
	images := map[string]string{}
	for _, s := range p.Steps {
		images[s.Name] = s.Image
	}
	for _, s := range r.Receipt.Steps {
		if image := images[s.Name]; image != "" && !named(image) {
			if d, err := imageDigest(s.Image); err == nil {
				found.Images[image] = d
			}
		}
		if s.Network == string(pipeline.NetworkRecorded) && s.Status == receipt.Succeeded {
			found.Steps[s.Name] = fetchesOf(s.Fetched)
		}
	}
	return found
}
