// SPDX-License-Identifier: Apache-2.0

// Package verify turns a receipt, keys that are believed and the files on disk
// into a Proof, or into errors that name each check that failed.
//
// Start with [New] and [Verifier.Verify]. Only this package makes a [Proof].
// It imports no engine and no network: what decides what to believe stays small
// enough to be read.
package verify

import (
	"context"
	"errors"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
)

// ErrNoKeys is returned by [New] for options under which every receipt would be
// believed whoever signed it.
var ErrNoKeys = errors.New("no key to believe")

// ErrFailed is matched by every [CheckError].
var ErrFailed = errors.New("verification failed")

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
	if len(o.Keys) == 0 && !o.UnsafeSkipSignature {
		return nil, ErrNoKeys
	}
	return &Verifier{o}, nil
}

// Name names a check, in JSON and for programs.
type Name string

// The checks, in the order of a Report.
const (
	Format    Name = "format"    // the document is a receipt, in its one spelling
	Run       Name = "run"       // the run and each of its steps succeeded
	Pipeline  Name = "pipeline"  // pipeline_hash is that of the file on disk
	Files     Name = "files"     // every input and output is on disk as recorded
	Signature Name = "signature" // signed by a believed key
)

// Status is what came of a check.
type Status string

// A check passed, failed, or was not made: skipped on request, or not reached
// because the document could not be read.
const (
	Passed     Status = "passed"
	Failed     Status = "failed"
	Skipped    Status = "skipped"
	NotReached Status = "not-reached"
)

// Check is one thing that was looked at.
type Check struct {
	Name   Name   `json:"name"`
	Status Status `json:"status"`
	// Message is one line for people, without a mark in front: "Receipt format
	// valid", "Pipeline hash does not match", "Signature verification skipped".
	Message string `json:"message"`
	// Want and Got are set for a check that failed: what would have passed and
	// what was found.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// Differences name the files that differ, ordered by path: the first 20.
	Differences []Difference `json:"differences,omitempty"`
	// More counts the differences that are not in Differences.
	More int `json:"more,omitempty"`
}

// Difference is one path that is not as recorded.
type Difference struct {
	Path string `json:"path"`
	// Change is what happened to it: "changed", "added", "removed", "mode" or
	// "kind" (a file where a folder was, and the like).
	Change string `json:"change"`
	Want   string `json:"want,omitempty"`
	Got    string `json:"got,omitempty"`
	// Step and Role ("input" or "output") say where the receipt names it.
	Step string `json:"step,omitempty"`
	Role string `json:"role,omitempty"`
}

// Report is every check, in the order of the constants above. All checks are
// made even when an early one fails, so that one look shows all that is wrong.
type Report struct {
	Checks []Check `json:"checks"`
}

// CheckError says that one check failed. It matches [ErrFailed].
type CheckError struct{ Check Check }

// Error returns the message, what was wanted and what was found, and the files.
func (e *CheckError) Error() string { return e.Check.Message }

// Is reports whether target is [ErrFailed].
func (e *CheckError) Is(target error) bool { return target == ErrFailed }

// Proof is what was verified: all checks passed.
type Proof struct {
	receipt *receipt.Receipt
	digest  digest.Digest
	signer  keys.Public
}

// Receipt returns the verified document, which the caller must not change.
func (p *Proof) Receipt() *receipt.Receipt { return p.receipt }

// Digest returns the BLAKE3 digest of the document's bytes.
func (p *Proof) Digest() digest.Digest { return p.digest }

// Signer returns the believed key that signed. It is zero, and ok false, where
// the signature was skipped.
func (p *Proof) Signer() (key keys.Public, ok bool) { return p.signer, !p.signer.IsZero() }

// Verify checks the bytes of a receipt. The Proof is nil unless every check
// passed; the Report is always complete. The error joins one [CheckError] per
// failed check, or is another one where checking was not possible (the cause of
// ctx, a root folder that is not there).
func (v *Verifier) Verify(ctx context.Context, data []byte) (*Proof, Report, error) {
	return nil, Report{}, errors.New("verify: being written")
}
