// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/mask"
)

// Whatever of a step can become part of a record, an event or an error goes
// through its masker: what the command prints, on the way to the log; what the
// executor says; and names, which a step can choose.

// newMasker makes the masker of the step's secrets.
func (w *walk) newMasker() error {
	var values [][]byte
	for _, s := range w.secrets {
		values = append(values, s.Value.Reveal())
	}
	var err error
	w.mask, err = mask.New(values...)
	return err
}

// masks is how records spell what comes of the step.
func (w *walk) masks() mask.Record {
	return mask.Record{Secrets: w.mask, Passed: w.env.passedValues()}
}

// clean is a text of a record without secrets, and without the values that came
// from the caller's environment.
func (w *walk) clean(text string) string { return w.masks().String(text) }

// maskFacts masks what the executor found out, and makes text of names that are
// none. Receipts want lists in order, and nothing twice.
func (w *walk) maskFacts() {
	f := &w.facts
	for _, names := range []*[]string{&f.Missing, &f.MissingPrograms, &f.Unread, &f.Unexpected, &f.Modified} {
		*names = w.maskNames(*names)
	}
	for _, files := range []*[]receipt.File{&f.Read, &f.Programs} {
		for i, file := range *files {
			(*files)[i].Path = w.masks().Name(file.Path)
		}
		slices.SortStableFunc(*files, func(a, b receipt.File) int { return strings.Compare(a.Path, b.Path) })
		*files = slices.CompactFunc(*files, func(a, b receipt.File) bool { return a.Path == b.Path })
	}
}

// maskNames does it to names, which it changes.
func (w *walk) maskNames(all []string) []string {
	for i, name := range all {
		all[i] = w.masks().Name(name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// maskFetches does the same to what was fetched; it changes all.
func (w *walk) maskFetches(all []receipt.Fetch) []receipt.Fetch {
	for i, fetch := range all {
		all[i].URL = w.masks().Name(fetch.URL)
	}
	slices.SortFunc(all, func(a, b receipt.Fetch) int {
		return cmp.Or(strings.Compare(a.URL, b.URL), strings.Compare(a.SHA256.String(), b.SHA256.String()))
	})
	return slices.Compact(all)
}

// refuseSecretNames makes sure that no output is called by a secret: a receipt
// names it, and cannot name it otherwise than it is.
func (w *walk) refuseSecretNames(outputs []tree.Entry) error {
	for _, e := range outputs {
		if w.mask.Found(e.Path) || w.mask.Found(e.Target) {
			return fmt.Errorf("an output's name holds a secret, which a receipt would tell: %s", w.mask.String(e.Path))
		}
	}
	return nil
}

// masked returns err, or where its text holds a secret, one that does not and
// that matches the same errors.
func (w *walk) masked(err error) error {
	var hinted *executor.HintedError
	secret := err != nil && w.mask.Found(err.Error())
	if err != nil && errors.As(err, &hinted) {
		for _, hint := range hinted.Hints {
			secret = secret || w.mask.Found(hint)
		}
	}
	if !secret {
		return err
	}
	m := &maskedError{text: w.mask.String(err.Error()), is: err}
	if hinted == nil {
		return m
	}
	clean := &executor.HintedError{Err: m}
	for _, hint := range hinted.Hints {
		clean.Hints = append(clean.Hints, w.mask.String(hint))
	}
	return clean
}

// maskedError matches what another error matches. It does not unwrap to it: its
// text must not be found.
type maskedError struct {
	text string
	is   error
}

// Error returns the masked text.
func (e *maskedError) Error() string { return e.text }

// Is reports whether the error that was masked matches.
func (e *maskedError) Is(target error) bool { return errors.Is(e.is, target) }
