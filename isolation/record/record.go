// SPDX-License-Identifier: Apache-2.0

// Package record writes down what a run came to: its receipt, the folder
// listings that the receipt names by digest, and, when there is a key to sign
// with, the same facts as in-toto statements.
//
// Start with [Write]. Nothing that stands is ever overwritten, and every file
// appears complete or not at all.
package record

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/attest-pipeline/attest/attestation/dsse"
	"github.com/attest-pipeline/attest/attestation/intoto"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/engine"
)

// Names of the folders in .attest.
const (
	receiptsDir     = "receipts"
	attestationsDir = "attestations"
)

// Options say what to write and where.
type Options struct {
	// Dir is the absolute path of the project's .attest folder. Required.
	Dir string
	// Plan is what was run: it says which steps get statements of their own.
	// Required.
	Plan *plan.Plan
	// Record is what came of it. Required. Its receipt is signed in place.
	Record *engine.Record
	// Signer signs the receipt and makes the statements; nil leaves the receipt
	// unsigned and makes none.
	Signer keys.Signer
}

// lasting reports whether what is written must outlast a crash of the machine in
// the next seconds: the facts of a step that ran cannot be had again. A run that
// repeated nothing can be asked for once more, at the price that it would now pay
// for waiting for the disk; a receipt that a crash cut short fails verification.
func (o Options) lasting() bool {
	return slices.ContainsFunc(o.Record.Receipt.Steps, func(s receipt.Step) bool { return s.Cache != receipt.Hit })
}

// Paths are the absolute paths of what was written.
type Paths struct {
	Receipt    string
	Statements []string // the run's first; empty without a signer
}

// Write writes the listings, then the statements, then the receipt: whoever
// finds a receipt finds all that belongs to it. A run that did not succeed has
// no statement of its own, since a statement would vouch for its outputs; nor
// has a step that did not. Several processes may write to one Dir at once.
// Where a step ran, all is on the disk when Write returns (fsync(2)).
//
// Writing a receipt matters most after an interruption, so an ended ctx does
// not keep Write from its work.
func Write(ctx context.Context, o Options) (Paths, error) {
	ctx = context.WithoutCancel(ctx)
	r := o.Record.Receipt
	if o.Signer != nil {
		if err := receipt.Sign(r, o.Signer); err != nil {
			return Paths{}, fmt.Errorf("signing the receipt: %w", err)
		}
	}
	text, err := receipt.Marshal(r)
	if err != nil {
		return Paths{}, fmt.Errorf("writing the receipt: %w", err)
	}
	dir := filepath.Join(o.Dir, receiptsDir)
	if err := writeListings(ctx, filepath.Join(o.Dir, receipt.ListingsDir), o.Record); err != nil {
		return Paths{}, fmt.Errorf("writing folder listings: %w", err)
	}
	// The name of the receipt stands in the statements, so it is taken first.
	file, err := reserve(dir, "receipt_"+r.Timestamp.UTC().Format("20060102_150405"), ".yaml")
	if err != nil {
		return Paths{}, fmt.Errorf("writing the receipt: %w", err)
	}
	defer file.release()
	paths := Paths{Receipt: file.path}
	if o.Signer != nil {
		if paths.Statements, err = o.writeStatements(file.name, text); err != nil {
			return Paths{}, fmt.Errorf("writing statements: %w", err)
		}
	}
	if err := file.publish(text, o.lasting()); err != nil {
		return Paths{}, fmt.Errorf("writing the receipt: %w", err)
	}
	return paths, nil
}

// writeListings writes the listing of every folder that the receipt names, by
// its digest, unless it is there already.
func writeListings(ctx context.Context, dir string, record *engine.Record) error {
	for i, step := range record.Receipt.Steps {
		result := record.Results[i]
		outputs := func(context.Context) (tree.Tree, error) { return result.Outputs, nil }
		for _, side := range []struct {
			paths []receipt.Path
			files func(context.Context) (tree.Tree, error)
		}{{step.Inputs, result.Inputs}, {step.Outputs, outputs}} {
			for _, p := range side.paths {
				if p.Mode != "" {
					continue // no folder
				}
				err := writeOnce(filepath.Join(dir, p.Hash.Hex()), func() ([]byte, error) {
					files, err := side.files(ctx)
					return files.Below(p.Path).Listing(), err
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// writeStatements writes the statements of the run and of the steps that are to
// have their own: those that ask for it, or all.
func (o Options) writeStatements(name string, text []byte) ([]string, error) {
	facts := intoto.Facts{
		Receipt: o.Record.Receipt, ReceiptName: name + ".yaml", ReceiptBytes: text,
		Outputs: map[string]tree.Tree{},
	}
	for i, step := range o.Record.Receipt.Steps {
		facts.Outputs[step.Name] = o.Record.Results[i].Outputs
	}
	var written []string
	add := func(name string, statement []byte, err error) error {
		if errors.Is(err, intoto.ErrNotSucceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		paths, err := o.writeStatement(name, statement)
		written = append(written, paths...)
		return err
	}
	statement, err := intoto.ForRun(facts)
	if err := add(name, statement, err); err != nil {
		return nil, err
	}
	for _, step := range o.Plan.Steps {
		if !o.Plan.Pipeline.Attestation.SignAllSteps && !step.Attestation.GenerateSLSA {
			continue
		}
		statement, err := intoto.ForStep(facts, step.Name)
		if err := add(name+"."+step.Name, statement, err); err != nil {
			return nil, fmt.Errorf("step %s: %w", step.Name, err)
		}
	}
	return written, nil
}

// writeStatement signs a statement and writes it in the three forms that
// checkers ask for: an envelope, a sigstore bundle, and a line of JSON.
func (o Options) writeStatement(name string, statement []byte) ([]string, error) {
	envelope, err := dsse.Sign(intoto.PayloadType, statement, o.Signer)
	if err != nil {
		return nil, err
	}
	bundle, err := dsse.Bundle(envelope)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, f := range []struct {
		ending string
		data   []byte
	}{{".dsse.json", envelope}, {".sigstore.json", bundle}, {".intoto.jsonl", envelope}} {
		p := filepath.Join(o.Dir, attestationsDir, name+f.ending)
		if err := writeNew(p, f.data, o.lasting()); err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}
