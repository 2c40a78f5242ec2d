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
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Version is the version of the document. A change of meaning changes it, so
// that results kept under an older meaning are not found.
const Version = "attest.key/v1"

// ErrInvalid is matched by errors about facts that no document can hold.
var ErrInvalid = errors.New("a step without a key")

// Facts are what a step's result depends on.
type Facts struct {
	Command pipeline.Command
	// Env are the declared variables, each name once, in any order.
	Env []pipeline.Var
	// PassEnv are the variables let through from the caller, each name once,
	// in any order. Their values enter by hash only.
	PassEnv []Passed
	// Inputs is everything that the step sees, the outputs of needed steps
	// included.
	Inputs tree.Tree
	// Outputs are the declared patterns: what is kept of what the step made.
	Outputs    []pipeline.Pattern
	WorkingDir string        // slash-separated, "." for the project
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
	// Document is the pre-image: canonical JSON (RFC 8785) without secrets,
	// to be kept so that a different key can be explained.
	Document []byte
}

// New computes the key of the facts. Errors match [ErrInvalid]: a name that
// stands in Env or PassEnv twice, a command that is not one of the three
// kinds, or text that is not UTF-8, which the document could not tell from
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
	Command    command            `json:"command"`
	Env        map[string]string  `json:"env"`
	Image      *string            `json:"image"`
	Inputs     string             `json:"inputs"`
	Isolation  string             `json:"isolation"`
	Network    string             `json:"network"`
	Outputs    []output           `json:"outputs"`
	PassEnv    map[string]*string `json:"pass_env"`
	Platform   string             `json:"platform"`
	Version    string             `json:"version"`
	WorkingDir string             `json:"working_dir"`
}

type command struct {
	Argv   []string `json:"argv,omitempty"`
	Script string   `json:"script,omitempty"`
	Shell  string   `json:"shell,omitempty"`
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
		Platform:   f.Platform,
		Version:    Version,
		WorkingDir: f.WorkingDir,
		Outputs:    outputs(f.Outputs),
		Env:        make(map[string]string, len(f.Env)),
		PassEnv:    make(map[string]*string, len(f.PassEnv)),
	}
	kinds := 0
	for _, set := range []bool{len(f.Command.Argv) > 0, f.Command.Script != "", f.Command.Shell != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return document{}, fmt.Errorf("%w: its command is of %d kinds", ErrInvalid, kinds)
	}
	if !f.Image.IsZero() {
		image := f.Image.String()
		doc.Image = &image
	}
	for _, v := range f.Env {
		if _, twice := doc.Env[v.Name]; twice {
			return document{}, fmt.Errorf("%w: variable %q stands in it twice", ErrInvalid, v.Name)
		}
		doc.Env[v.Name] = v.Value
	}
	for _, v := range f.PassEnv {
		if _, twice := doc.PassEnv[v.Name]; twice {
			return document{}, fmt.Errorf("%w: variable %q is passed twice", ErrInvalid, v.Name)
		}
		doc.PassEnv[v.Name] = v.hash()
	}
	return doc, nil
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

// passedHeader sets the hashes of passed values apart from all other hashes.
const passedHeader = "attest.key/v1 passed variable\n"

// hash returns the digest that stands for the value, nil where there is none.
// The name is part of it, so that equal values of two variables do not show.
func (p Passed) hash() *string {
	if !p.Set {
		return nil
	}
	b := []byte(passedHeader)
	b = binary.BigEndian.AppendUint64(b, uint64(len(p.Name)))
	b = append(b, p.Name...)
	b = append(b, p.Value...)
	sum := digest.Of(b).String()
	return &sum
}
