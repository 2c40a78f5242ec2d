// SPDX-License-Identifier: Apache-2.0

// Package intoto states a receipt's facts in the world's format: in-toto
// Statement v1 with SLSA provenance v1.
//
// Start with [ForRun] and [ForStep]; BUILDTYPE.md in this folder documents the
// build type. Sign what they return with attestation/dsse and [PayloadType]. It
// is the only importer of in-toto-golang.
package intoto

//lint:file-ignore SA1019 in-toto-golang marks its SLSA v1 types as superseded by
// generated protobuf types; these have the same JSON and no protobuf runtime.

import (
	"errors"
	"fmt"
	"time"

	slsa "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// What stands in every statement.
const (
	PayloadType   = "application/vnd.in-toto+json" // of its DSSE envelope
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = slsa.PredicateSLSAProvenance
	BuildType     = "https://github.com/attest-pipeline/attest/blob/main/attestation/intoto/BUILDTYPE.md#v1"
)

// MaxSubjects is the most subjects, and the most dependencies, that one
// statement names singly; sigstore refuses more subjects. See BUILDTYPE.md for
// what is named instead.
const MaxSubjects = 1024

// ErrNotSucceeded is matched when provenance is asked for work that did not come
// to its end.
var ErrNotSucceeded = errors.New("no provenance for what did not succeed")

// Facts are what statements are made from.
type Facts struct {
	Receipt *receipt.Receipt
	// ReceiptName is the receipt's file name, as it will stand in statements.
	ReceiptName string
	// ReceiptBytes are the receipt's bytes as written.
	ReceiptBytes []byte
	// Outputs hold, by step name, every file that the step left: paths relative
	// to the project, with both digests. They must be what the receipt says. A
	// step without outputs may be absent.
	Outputs map[string]tree.Tree
}

// statement is in-toto's Statement v1, whose subjects are resource descriptors.
type statement struct {
	Type          string                    `json:"_type"`
	Subject       []slsa.ResourceDescriptor `json:"subject"`
	PredicateType string                    `json:"predicateType"`
	Predicate     slsa.ProvenancePredicate  `json:"predicate"`
}

// ForRun returns the canonical JSON of the statement about the whole run. The
// error matches [ErrNotSucceeded] unless the run succeeded.
func ForRun(f Facts) ([]byte, error) {
	if f.Receipt.Status != receipt.Succeeded {
		return nil, fmt.Errorf("%w: the run is marked %s", ErrNotSucceeded, f.Receipt.Status)
	}
	started := f.Receipt.Timestamp.UTC().Truncate(time.Second)
	finished := started.Add(f.Receipt.Duration).Round(time.Millisecond)
	return f.state(f.Receipt.Steps, slsa.BuildMetadata{StartedOn: &started, FinishedOn: &finished})
}

// ForStep returns the canonical JSON of the statement about one step, which must
// have succeeded, else the error matches [ErrNotSucceeded].
func ForStep(f Facts, step string) ([]byte, error) {
	for i, s := range f.Receipt.Steps {
		if s.Name != step {
			continue
		}
		if s.Status != receipt.Succeeded {
			return nil, fmt.Errorf("%w: step %q is marked %s", ErrNotSucceeded, step, s.Status)
		}
		return f.state(f.Receipt.Steps[i:i+1], slsa.BuildMetadata{})
	}
	return nil, fmt.Errorf("the receipt has no step %q", step)
}

// state makes the statement about some of the receipt's steps.
func (f Facts) state(steps []receipt.Step, metadata slsa.BuildMetadata) ([]byte, error) {
	if f.ReceiptName == "" || len(f.ReceiptBytes) == 0 {
		return nil, errors.New("a statement needs the name and the bytes of its receipt")
	}
	subjects, err := f.subjects(steps)
	if err != nil {
		return nil, err
	}
	metadata.InvocationID = digest.Of(f.ReceiptBytes).String()
	dependencies, err := f.dependencies(steps)
	if err != nil {
		return nil, err
	}
	return canon.Marshal(statement{
		Type: StatementType, PredicateType: PredicateType, Subject: subjects,
		Predicate: slsa.ProvenancePredicate{
			BuildDefinition: slsa.ProvenanceBuildDefinition{
				BuildType:            BuildType,
				ExternalParameters:   f.external(steps),
				InternalParameters:   f.internal(steps),
				ResolvedDependencies: dependencies,
			},
			RunDetails: slsa.ProvenanceRunDetails{
				Builder:       f.builder(steps),
				BuildMetadata: metadata,
				Byproducts:    f.byproducts(steps),
			},
		},
	})
}
