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

// ListingsDir is where the listings of a receipt's folders are kept, in a project's
// folder .attest: each in a file named by the hexadecimal digits of its BLAKE3
// digest. With one at hand, the single file that differs can be named.
const ListingsDir = "receipts/listings"

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
	// What the step had besides: names of folders that are kept between runs,
	// and of secrets; both ordered.
	Caches  []string
	Secrets []string
	Fetched []Fetch // over a recorded network, ordered by URL
	// Unfetched are requests over a recorded network from which nothing came that
	// a record has, each with the reason: "URL: why"; ordered.
	Unfetched []string
	// Read are files of the project that the step read without declaring them,
	// Programs those of the host that it executed; both ordered by path.
	Read     []File
	Programs []File
	// Missing are paths of the project that it looked for and that were not
	// there, MissingPrograms names that it looked for in its PATH, Unread inputs
	// that it never opened: all ordered, and only where the run was traced.
	Missing         []string
	MissingPrograms []string
	Unread          []string
	// Unexpected are paths of the project that it wrote outside its outputs,
	// Modified are inputs that it changed; both ordered.
	Unexpected   []string
	Modified     []string
	Reproduction *Reproduction // nil where the step was not run a second time
	Image        string        // by digest; empty for a process
	Env          map[string]string
	PassEnv      []string // names only: their values may be secret
	Needs        []string
	Inputs       []Path
	Outputs      []Path
	Log          digest.Digest // BLAKE3 of the step's log; zero where nothing ran
}

// The JSON tags of the types below are for those who keep such findings with a
// result; the document has types of its own.

// Fetch is one thing that came over a recorded network.
type Fetch struct {
	URL    string        `json:"url"`
	SHA256 digest.Digest `json:"sha256"` // of the body
}

// File is a file that was found to matter and what it held.
type File struct {
	Path string        `json:"path"` // relative to the project, or absolute for a program
	Hash digest.Digest `json:"hash"`
}

// Verdict is what a second run of a step came to.
type Verdict string

// The outputs of both runs were the same, bit for bit, or were not.
const (
	Identical Verdict = "identical"
	Different Verdict = "different"
)

// Reproduction says what came of running a step a second time.
type Reproduction struct {
	Verdict Verdict `json:"verdict"`
	// Varied names what of the world differed between the runs, ordered.
	Varied []string `json:"varied,omitempty"`
	// Differences are the first ones found; there are some exactly when the
	// verdict is Different.
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is one place in which two outputs differ.
type Difference struct {
	Path string `json:"path"` // of the output
	// Inside is the path within the archive that the output is, "a.tar/b";
	// empty where it is none, or differs in other ways than its members.
	Inside string `json:"inside,omitempty"`
	// Offset is the number of the first byte that differs, counted from 1, in
	// what Inside names, or else in the output; 0 where it is no matter of bytes.
	Offset int64  `json:"offset,omitempty"`
	Cause  string `json:"cause"` // what it probably comes from: "timestamp", "order", "unknown"
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
