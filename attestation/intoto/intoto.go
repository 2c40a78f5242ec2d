// SPDX-License-Identifier: Apache-2.0

// Package intoto states a receipt's facts in the world's format: in-toto
// Statement v1 with SLSA provenance v1.
//
// Start with [ForRun] and [ForStep]; BUILDTYPE.md in this folder documents the
// build type. Sign what they return with attestation/dsse and [PayloadType]. It
// is the only importer of in-toto-golang.
package intoto

import (
	"errors"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// PayloadType is the DSSE payload type of every statement.
const PayloadType = "application/vnd.in-toto+json"

// MaxSubjects is the most subjects that one statement has; sigstore refuses
// more. Where a folder has more files, the folder itself is named.
const MaxSubjects = 1024

// ErrNotSucceeded is matched when provenance is asked for work that failed.
var ErrNotSucceeded = errors.New("no provenance for what did not succeed")

// Facts are what statements are made from.
type Facts struct {
	Receipt *receipt.Receipt
	// ReceiptName is the receipt's file name, as it will stand in statements.
	ReceiptName string
	// ReceiptBytes are the receipt's bytes as written.
	ReceiptBytes []byte
	// Outputs hold, by step name, every file that the step left: paths relative
	// to the project, with both digests. A step without outputs may be absent.
	Outputs map[string]tree.Tree
}

// ForRun returns the canonical JSON of the statement about the whole run. The
// error matches [ErrNotSucceeded] unless the run succeeded.
func ForRun(f Facts) ([]byte, error) { return nil, errors.New("intoto: being written") }

// ForStep returns the canonical JSON of the statement about one step, which must
// have succeeded.
func ForStep(f Facts, step string) ([]byte, error) {
	return nil, errors.New("intoto: being written")
}
