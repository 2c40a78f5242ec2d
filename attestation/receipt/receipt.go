// SPDX-License-Identifier: Apache-2.0

// Package receipt records what one run did, as facts that can be signed and
// checked by somebody else.
//
// Start with [Receipt], [Marshal], [Parse] and [Sign]. FORMAT.md in this folder
// specifies the document and the bytes that are signed, with test vectors, well
// enough for a second implementation. This package decides nothing: whether a
// receipt is to be believed is attestation/verify's question.
//
// A Receipt is a plain value; it is not safe for concurrent change.
package receipt

import (
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Schema is the only document type that this package reads and writes.
const Schema = "attest.receipt/v1"

// Status is how a run or a step ended.
type Status string

// What a run or step can have come to. A run is never skipped.
const (
	Succeeded   Status = "succeeded"
	Failed      Status = "failed"
	Skipped     Status = "skipped"     // a step it needs did not succeed
	Interrupted Status = "interrupted" // the user stopped the run before it ended
)

// CacheUse says where a step's result came from.
type CacheUse string

// A step's result is an earlier one's (Hit), was made because none was found
// (Miss), or was made without looking for one (Off).
const (
	Hit  CacheUse = "hit"
	Miss CacheUse = "miss"
	Off  CacheUse = "off"
)

// Receipt is what happened in one run. The order of fields is that of the
// document.
type Receipt struct {
	Schema       string
	PipelineHash digest.Digest // BLAKE3 of the bytes of attest.yaml
	Timestamp    time.Time     // the run's start: UTC, whole seconds
	Duration     time.Duration // rounded to milliseconds
	Version      string        // of attest
	Status       Status
	Pipeline     Pipeline
	Source       *Source // nil where the project is in no git repository
	Environment  Environment
	Steps        []Step // in planned order

	// Signature and SignerPublicKey are empty in an unsigned receipt. They are
	// "ed25519:" and lower-case hex. The key is covered by the signature and
	// is, for a reader, no more than a claim.
	Signature       string
	SignerPublicKey string
}

// Pipeline names the pipeline that ran.
type Pipeline struct {
	Name string
	File string // slash-separated, relative to the project
}

// Source is the state of the project's git repository.
type Source struct {
	Commit string // full object name; empty before the first commit
	Dirty  bool   // tracked files differ from the commit, or untracked ones stand beside them
}

// Environment is where the run happened. It names no host and no user.
type Environment struct {
	OS, Arch string // as Go names them
	Engine   string // "embedded buildkit v0.34.2"; empty when no step needed one
}

// Step is what one step did.
type Step struct {
	Name      string
	Command   string // as pipeline.Command.String has it
	Type      string // build, test, scan, deploy; empty where not said
	Status    Status
	ExitCode  int
	Error     string // one line, why it did not succeed; empty when it did
	Duration  time.Duration
	Cache     CacheUse
	Key       digest.Digest // what the result depends on; zero where it was never computed
	Isolation string
	Network   string
	Controls  []string // protections that were really in force, ordered
	Image     string   // by digest; empty for a process
	Env       map[string]string
	PassEnv   []string // names only: their values may be secret
	Needs     []string
	Inputs    []Path
	Outputs   []Path
	Log       digest.Digest // BLAKE3 of the step's log; zero where nothing ran
}

// Path is one file, symbolic link or folder and what it held.
type Path struct {
	// Path is slash-separated and relative to the project; a folder's ends
	// with a slash. It stands for the folder with everything in it.
	Path string
	// Mode is "0644", "0755" or "symlink"; empty for a folder.
	Mode string
	// Hash is the BLAKE3 digest of a file's content, of a symbolic link's
	// target, or of a folder's listing (attestation/tree).
	Hash digest.Digest
	// SHA256 is the same bytes' SHA-256 digest; zero for inputs.
	SHA256 digest.Digest
}
