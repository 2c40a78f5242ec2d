// SPDX-License-Identifier: Apache-2.0

// Package pipeline reads attest.yaml: strictly, with every value's place kept
// and every problem reported at once.
//
// Start with [Load]. SPEC.md in this folder is the format; [Schema] is the
// same for editors. What Load returns is complete and valid: defaults are
// applied, names resolve, there are no cycles, and no key was without effect.
//
// A Pipeline does not change after it was read and is safe for concurrent use.
package pipeline

import (
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Pipeline is what was written: one attest.yaml.
type Pipeline struct {
	// File is what was read. Its name is what the user called it.
	File *source.File
	// Digest is the BLAKE3 digest of the file's bytes: a receipt's
	// pipeline_hash.
	Digest digest.Digest

	Version     string // "0.1"
	Name        string
	Description string
	Env         []Var // ordered by name
	Image       string
	Limits      Limits // of steps that set none themselves
	Attestation Attestation
	Cache       Cache
	Steps       []Step // in the order of declaration
}

// Attestation says what evidence the run leaves.
type Attestation struct {
	SignAllSteps       bool // a statement for every step, not only for the run
	VerifyDependencies bool // re-check outputs of needed steps before their use
	// RequireReproducible runs every step twice: see StepAttestation. Parse has
	// set it on every step already.
	RequireReproducible bool
}

// Cache says how results are kept.
type Cache struct {
	Enabled     bool          // default true
	MaxSize     int64         // bytes; 0 means no bound
	Compression bool          // default true
	Retention   time.Duration // 0 means for ever
}

// DefaultCache returns what holds where attest.yaml says nothing of the cache.
func DefaultCache() Cache { return Cache{Enabled: true, Compression: true} }

// Var is one environment variable.
type Var struct {
	Name, Value string
}

// Isolation is a level of isolation.
type Isolation string

// The levels that attest.yaml can ask for.
const (
	Process   Isolation = "process"
	Container Isolation = "container"
	VM        Isolation = "vm"
)

// Network is what a step may reach.
type Network string

// The networks that attest.yaml can ask for.
const (
	NetworkNone Network = "none"
	NetworkOpen Network = "open"
	// NetworkRecorded reaches out through a proxy that notes what was fetched.
	NetworkRecorded Network = "recorded"
	// NetworkHost is that of the host: what a process step has that does not
	// ask for another.
	NetworkHost Network = "host"
)

// Limits bound what a step may use. Zero fields leave it to the level.
type Limits struct {
	Memory   int64 // bytes, of all that the step runs together
	CPUs     int   // processors that the step sees and may use; enters the key
	PIDs     int   // processes and threads at one time
	FileSize int64 // bytes of the largest file that the step may write
}

// LimitPos are the places of limits in attest.yaml, zero for those that are not
// there.
type LimitPos struct{ Memory, PIDs, FileSize source.Pos }

// Names of limits in attest.yaml that a command can run into.
const (
	LimitMemory   = "memory"
	LimitPIDs     = "pids"
	LimitFileSize = "file_size"
)

// DefaultPIDs is how many processes and threads a step may have at one time that
// says nothing of it, where its level can hold it to a number: enough for every
// build, and so few that the machine survives a step that starts itself again and
// again.
const DefaultPIDs = 8192

// Secret is something that a step is handed and that no record may hold. One of
// Env, File and Command says where it comes from.
type Secret struct {
	Name    string // of the variable that holds it, where Mount is empty
	Env     string // a variable of the caller's environment
	File    string // a file of the host, relative to the project, absolute, or after ~/ in the caller's home
	Command string // a script for /bin/sh -e -c whose output is the secret
	Mount   string // the path of a file in the step that holds it: absolute, or after ~/ in the step's home
	Pos     source.Pos
}

// InHome reports whether the secret is mounted in the step's home, which process
// steps alone are known to have.
func (s Secret) InHome() bool { return strings.HasPrefix(s.Mount, inHome) }

// inHome begins paths in a home.
const inHome = "~/"

// CacheFolder is a folder that a step finds as the last step that named it left
// it: what a package manager downloaded. What it holds does not enter the key.
type CacheFolder struct {
	Name string // steps that use one name share the folder
	Path string // absolute, in the step
	Pos  source.Pos
}

// Step is one declared step, defaults applied.
type Step struct {
	Name string
	Pos  source.Pos // of the step's name

	Run    Command
	RunPos source.Pos

	// Inputs are the declared patterns. AllInputs is set when the key is
	// absent, which means the whole project less what is ignored; it differs
	// from an empty list, which means nothing but the outputs of needed steps.
	Inputs    []Pattern
	AllInputs bool
	Outputs   []Pattern
	Needs     []Need

	Env        []Var // the pipeline's and the step's own, ordered by name
	PassEnv    []string
	WorkingDir string // slash-separated, relative, "." by default
	Image      string // empty for a process step
	ImagePos   source.Pos
	Isolation  Isolation
	Network    Network
	// NetworkAllow are the only hosts that a recorded network reaches, ordered:
	// "example.org", or "*.example.org" for all below it. Empty means any.
	NetworkAllow []string
	NetworkPos   source.Pos // of the value; zero where it was not said
	Limits       Limits
	LimitPos     LimitPos
	Secrets      []Secret      // ordered by name
	Caches       []CacheFolder // ordered by name
	Cache        bool
	Timeout      time.Duration // 0 means none

	Attestation StepAttestation
}

// StepAttestation says what evidence one step leaves.
type StepAttestation struct {
	Type         string // build, test, scan, deploy; empty where not said
	GenerateSLSA bool   // a provenance statement for this step in any case
	// Reproducible runs the step a second time in a world that differs, and
	// fails it where the outputs differ too.
	Reproducible bool
}

// Command is what a step runs: one of the three is set.
type Command struct {
	// Argv is a list of words, run without a shell.
	Argv []string
	// Shell is a script for /bin/sh -e.
	Shell string
	// Script is a script whose first line, #!, chooses its interpreter.
	Script string
}

// Pattern is one entry of inputs or outputs.
type Pattern struct {
	// Text is the pattern as declared, without a leading "!" or trailing "?",
	// slash-separated and clean, relative to the project. A trailing slash is
	// not part of it; see Folder.
	Text     string
	Pos      source.Pos
	Exclude  bool // began with "!"
	Optional bool // ended with "?": may match nothing
	Folder   bool // ended with "/": must be a folder
	Glob     bool // holds *, ?, [ or { as wildcards; see [Pattern.Globs]
}

// Need names a step that must have succeeded before.
type Need struct {
	Name string
	Pos  source.Pos
}
