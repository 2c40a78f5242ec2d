// SPDX-License-Identifier: Apache-2.0

// Package verify turns a receipt, keys that are believed and the files on disk
// into a [Proof], or into errors that name each check that failed.
//
// Start with [New] and [Verifier.Verify]. Only this package makes a Proof. It
// imports no engine and no network: what decides what to believe stays small
// enough to be read.
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
)

// ErrNoKeys is returned by [New] for options under which every receipt would be
// believed, whoever signed it.
var ErrNoKeys = errors.New("no key to believe")

// Options say what a Verifier believes and where it looks.
type Options struct {
	// Keys are believed. The key that stands in a receipt never is on that
	// account. None is an error unless UnsafeSkipSignature is set.
	Keys []keys.Public
	// Root is the project's folder; empty means the current one.
	Root string
	// Pipeline is the path of the pipeline file; empty means the one that the
	// receipt names, below Root.
	Pipeline string
	// UnsafeSkipSignature leaves the signature out: the result says that files
	// agree with a document, not that anybody vouches for it.
	UnsafeSkipSignature bool
}

// Verifier checks receipts. Safe for concurrent use.
type Verifier struct{ options Options }

// New returns a Verifier. The error matches [ErrNoKeys] where it would believe
// everything.
func New(o Options) (*Verifier, error) {
	believed := 0
	for _, key := range o.Keys {
		if !key.IsZero() {
			believed++
		}
	}
	if believed == 0 && !o.UnsafeSkipSignature {
		return nil, ErrNoKeys
	}
	if o.Root == "" {
		o.Root = "."
	}
	return &Verifier{o}, nil
}

// Proof is what was verified: every check passed.
type Proof struct {
	receipt *receipt.Receipt
	digest  digest.Digest
	signer  keys.Public
}

// Receipt returns the verified document, which the caller must not change.
func (p *Proof) Receipt() *receipt.Receipt { return p.receipt }

// Digest returns the BLAKE3 digest of the document's bytes.
func (p *Proof) Digest() digest.Digest { return p.digest }

// Signer returns the believed key that signed. Where the signature was skipped,
// nobody vouches for the receipt: the key is zero and ok is false.
func (p *Proof) Signer() (key keys.Public, ok bool) { return p.signer, !p.signer.IsZero() }

// Verify checks the bytes of a receipt against the keys and the files on disk.
// The Proof is nil unless every check passed. The Report has every check, those
// that could not be made included. The error joins one [CheckError] for each
// that failed, or is another one where checking itself was not possible: the
// cause of ctx, a root folder that cannot be opened.
func (v *Verifier) Verify(ctx context.Context, data []byte) (*Proof, Report, error) {
	report := newReport()
	r, err := receipt.Parse(data)
	if err != nil {
		report.fail(Format, failure{want: "an unchanged receipt with schema " + receipt.Schema, got: err.Error(), err: err})
		return nil, report, report.err()
	}
	report.pass(Format)

	root, err := os.OpenRoot(v.options.Root)
	if err != nil {
		return nil, report, fmt.Errorf("opening the project: %w", err)
	}
	defer root.Close()

	proof := &Proof{receipt: r, digest: digest.Of(data)}
	report.note(Run, checkRun(r))
	report.note(Pipeline, v.checkPipeline(root, r))
	files, err := checkFiles(ctx, root, r)
	if err != nil {
		return nil, report, err
	}
	report.note(Files, files)
	if v.options.UnsafeSkipSignature {
		report.skip(Signature)
	} else {
		proof.signer, err = r.VerifySignature(v.options.Keys...)
		report.note(Signature, v.signatureFailure(err))
	}
	if err := report.err(); err != nil {
		return nil, report, err
	}
	return proof, report, nil
}

func (v *Verifier) signatureFailure(err error) *failure {
	if err == nil {
		return nil
	}
	want := fmt.Sprintf("a signature by one of %d believed keys", len(v.options.Keys))
	if len(v.options.Keys) == 1 {
		want = "a signature by " + v.options.Keys[0].String()
	}
	return &failure{want: want, got: err.Error(), err: err}
}

// checkRun wants a run that came to its end, and no step that says otherwise.
func checkRun(r *receipt.Receipt) *failure {
	if r.Status != receipt.Succeeded {
		return &failure{want: "a run that succeeded", got: "a run that is marked " + string(r.Status)}
	}
	for _, s := range r.Steps {
		if s.Status != receipt.Succeeded {
			return &failure{want: "steps that succeeded", got: fmt.Sprintf("step %q is marked %s", s.Name, s.Status)}
		}
		if s.ExitCode != 0 {
			return &failure{want: "exit code 0", got: fmt.Sprintf("step %q ended with exit code %d", s.Name, s.ExitCode)}
		}
		if s.Reproduction != nil && s.Reproduction.Verdict != receipt.Identical {
			return &failure{want: "steps that left the same twice", got: fmt.Sprintf("step %q did not", s.Name)}
		}
	}
	return nil
}

func (v *Verifier) checkPipeline(root *os.Root, r *receipt.Receipt) *failure {
	open, name := root.OpenFile, r.Pipeline.File
	if v.options.Pipeline != "" {
		open, name = os.OpenFile, v.options.Pipeline
	}
	got, err := hashFile(open, name)
	switch {
	case err != nil:
		return &failure{want: fmt.Sprintf("%s of %s", r.PipelineHash, name), got: err.Error(), err: err}
	case got != r.PipelineHash:
		return &failure{want: fmt.Sprintf("%s of %s", r.PipelineHash, name), got: got.String()}
	}
	return nil
}
