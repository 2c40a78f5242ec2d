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
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Version is the version of the document. A change of meaning changes it, so
// that results kept under an older meaning are not found.
const Version = "attest.key/v2"

// ErrInvalid is matched by errors about facts that no document can hold.
var ErrInvalid = errors.New("a step without a key")

// Facts are what a step's result depends on.
type Facts struct {
	Command pipeline.Command
	// Env are the declared variables, each name once, in any order.
	Env []pipeline.Var
	// PassEnv are the variables let through from the caller, each name once,
	// in any order. Their values enter as those of Secrets do.
	PassEnv []Passed
	// Inputs is everything that the step sees, the outputs of needed steps
	// included: a [tree.Tree], or what knows the digest of one.
	Inputs interface{ Digest() digest.Digest }
	// Outputs are the declared patterns: what is kept of what the step made.
	Outputs    []pipeline.Pattern
	WorkingDir string        // slash-separated, "." for the project
	Image      digest.Digest // zero for a process
	Isolation  pipeline.Isolation
	Network    pipeline.Network
	// NetworkAllow are the hosts that a recorded network reaches, in any order;
	// empty means any.
	NetworkAllow []string
	// Locked are the digests that attest.lock has for what the step fetches, by
	// URL; empty where it has none.
	Locked map[string]digest.Digest
	// CPUs is how many processors the step sees; 0 means those of the machine.
	CPUs int
	// Secrets are what the step is handed, each name once, in any order. They
	// enter by a hash that only the holder of SecretKey can compute.
	Secrets   []executor.Secret
	SecretKey []byte // of 32 bytes; may be empty where there are neither Secrets nor values of PassEnv
	Caches    []executor.CacheFolder
	// Deterministic is what the step sees in place of the world; nil for the
	// world.
	Deterministic *executor.Determinism
	Platform      string // "linux/amd64"
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
	// Document is the pre-image: canonical JSON (RFC 8785) without secrets,
	// to be kept so that a different key can be explained.
	Document []byte
}

// New computes the key of the facts. Errors match [ErrInvalid]: a name that
// stands in Env or PassEnv twice, a command that is not one of the three
// kinds, a secret without a key, or text that is not UTF-8, which the document could not tell from
// other text.
func New(f Facts) (Key, error) {
	doc, err := f.document()
	if err != nil {
		return Key{}, err
	}
	text, err := canon.Marshal(doc)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return Key{digest.Of(text), text}, nil
}

// document is the pre-image. FORMAT.md says what each field means.
type document struct {
	Caches        map[string]string  `json:"caches"`
	Command       command            `json:"command"`
	CPUs          int                `json:"cpus"`
	Deterministic *determinism       `json:"deterministic"`
	Env           map[string]string  `json:"env"`
	Image         *string            `json:"image"`
	Inputs        string             `json:"inputs"`
	Isolation     string             `json:"isolation"`
	Locked        map[string]string  `json:"locked"`
	Network       string             `json:"network"`
	Allow         []string           `json:"network_allow"`
	Outputs       []output           `json:"outputs"`
	PassEnv       map[string]*string `json:"pass_env"`
	Platform      string             `json:"platform"`
	Secrets       map[string]secret  `json:"secrets"`
	Version       string             `json:"version"`
	WorkingDir    string             `json:"working_dir"`
}

type command struct {
	Argv   []string `json:"argv,omitempty"`
	Script string   `json:"script,omitempty"`
	Shell  string   `json:"shell,omitempty"`
}

type determinism struct {
	Epoch string `json:"epoch"`
	Seed  string `json:"seed"`
}

type secret struct {
	Hash  string `json:"hash"`
	Mount string `json:"mount"`
}

type output struct {
	Exclude  bool   `json:"exclude"`
	Folder   bool   `json:"folder"`
	Glob     bool   `json:"glob"`
	Optional bool   `json:"optional"`
	Path     string `json:"path"`
}

func (f Facts) document() (document, error) {
	doc := document{
		Command:    command{f.Command.Argv, f.Command.Script, f.Command.Shell},
		Inputs:     f.Inputs.Digest().String(),
		Isolation:  string(f.Isolation),
		Network:    string(f.Network),
		Allow:      slices.Compact(slices.Sorted(slices.Values(f.NetworkAllow))),
		CPUs:       f.CPUs,
		Platform:   f.Platform,
		Version:    Version,
		WorkingDir: f.WorkingDir,
		Outputs:    outputs(f.Outputs),
		Env:        make(map[string]string, len(f.Env)),
		PassEnv:    make(map[string]*string, len(f.PassEnv)),
		Caches:     make(map[string]string, len(f.Caches)),
		Locked:     make(map[string]string, len(f.Locked)),
		Secrets:    make(map[string]secret, len(f.Secrets)),
	}
	if doc.Allow == nil {
		doc.Allow = []string{}
	}
	for url, sum := range f.Locked {
		doc.Locked[url] = sum.String()
	}
	if d := f.Deterministic; d != nil {
		doc.Deterministic = &determinism{d.Epoch.UTC().Format(time.RFC3339), d.Seed}
	}
	if !f.Image.IsZero() {
		image := f.Image.String()
		doc.Image = &image
	}
	return doc, errors.Join(oneKind(f.Command), f.variables(doc), f.extras(doc))
}

func oneKind(c pipeline.Command) error {
	kinds := 0
	for _, set := range []bool{len(c.Argv) > 0, c.Script != "", c.Shell != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("%w: its command is of %d kinds", ErrInvalid, kinds)
	}
	return nil
}

// variables fills in what the environment is made of.
func (f Facts) variables(doc document) error {
	for _, v := range f.Env {
		if _, twice := doc.Env[v.Name]; twice {
			return fmt.Errorf("%w: variable %q stands in it twice", ErrInvalid, v.Name)
		}
		doc.Env[v.Name] = v.Value
	}
	for _, v := range f.PassEnv {
		if _, twice := doc.PassEnv[v.Name]; twice {
			return fmt.Errorf("%w: variable %q is passed twice", ErrInvalid, v.Name)
		}
		hash, err := v.hash(f.SecretKey)
		if err != nil {
			return err
		}
		doc.PassEnv[v.Name] = hash
	}
	return nil
}

// extras fills in secrets and caches.
func (f Facts) extras(doc document) error {
	for _, c := range f.Caches {
		if _, twice := doc.Caches[c.Name]; twice {
			return fmt.Errorf("%w: cache %q stands in it twice", ErrInvalid, c.Name)
		}
		doc.Caches[c.Name] = c.Path
	}
	for _, s := range f.Secrets {
		if _, twice := doc.Secrets[s.Name]; twice {
			return fmt.Errorf("%w: secret %q stands in it twice", ErrInvalid, s.Name)
		}
		hash, err := keyedHash(f.SecretKey, secretHeader, s.Name, s.Value.Reveal())
		if err != nil {
			return err
		}
		doc.Secrets[s.Name] = secret{hash, s.Mount}
	}
	return nil
}

// outputs orders the patterns: what a step keeps does not depend on the order
// in which it says so.
func outputs(patterns []pipeline.Pattern) []output {
	list := make([]output, len(patterns))
	for i, p := range patterns {
		list[i] = output{p.Exclude, p.Folder, p.Glob, p.Optional, p.Text}
	}
	slices.SortFunc(list, func(a, b output) int {
		return strings.Compare(a.order(), b.order())
	})
	return slices.Compact(list)
}

// order is injective: the path comes last, after flags of fixed width.
func (o output) order() string {
	return fmt.Sprintf("%t %t %t %t ", o.Exclude, o.Folder, o.Glob, o.Optional) + o.Path
}

const (
	// The headers set the hashes of passed values and of secrets apart from all
	// other hashes, and from each other.
	passedHeader = "attest.key/v2 passed variable\n"
	secretHeader = "attest.key/v2 secret\n"
	// SecretKeySize is the length of Facts.SecretKey.
	SecretKeySize = 32
)

// hash returns what stands for the value, nil where there is none.
func (p Passed) hash(key []byte) (*string, error) {
	if !p.Set {
		return nil, nil
	}
	sum, err := keyedHash(key, passedHeader, p.Name, []byte(p.Value))
	return &sum, err
}

// keyedHash returns what stands for a value: an HMAC, which without the key says
// nothing about it, not even about one that can be guessed. The name is part of
// it, so that equal values of two names do not show.
func keyedHash(key []byte, header, name string, value []byte) (string, error) {
	if len(key) != SecretKeySize {
		return "", fmt.Errorf("%w: the value of %q, and a key of %d bytes to hash it with", ErrInvalid, name, len(key))
	}
	mac := hmac.New(sha256.New, key)
	b := []byte(header)
	b = binary.BigEndian.AppendUint64(b, uint64(len(name)))
	b = append(b, name...)
	mac.Write(append(b, value...))
	return fmt.Sprintf("hmac-sha256:%x", mac.Sum(nil)), nil
}
