// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Modes of a [Path] that is no folder.
const (
	ModeFile       = "0644"
	ModeExecutable = "0755"
	ModeSymlink    = "symlink"
)

// checker collects the first thing that FORMAT.md does not allow.
type checker struct{ err error }

// check judges the facts, for writing and for reading alike.
func check(r *Receipt) error {
	c := &checker{}
	c.facts(r)
	c.signature(r)
	return c.err
}

func (c *checker) want(ok bool, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
}

// text wants every string to be UTF-8.
func (c *checker) text(where string, all ...string) {
	for _, s := range all {
		c.want(utf8.ValidString(s), "%s: %q is not valid UTF-8", where, s)
	}
}

func (c *checker) digest(where string, d digest.Digest, optional bool) {
	c.want(d.Algorithm() == digest.BLAKE3 || optional && d.IsZero(), "%s: want a BLAKE3 digest, got %q", where, d)
}

// facts checks everything but the signature.
func (c *checker) facts(r *Receipt) {
	c.want(r.Schema == Schema, "schema is %q, not %s", r.Schema, Schema)
	c.digest("pipeline_hash", r.PipelineHash, false)
	year := r.Timestamp.UTC().Year()
	c.want(year >= 1 && year <= 9999, "timestamp is in the year %d", year)
	c.want(r.Duration >= 0, "total_duration_secs is negative")
	switch r.Status {
	case Succeeded, Failed, Interrupted:
	default:
		c.want(false, "status %q", r.Status)
	}
	c.text("attest_version", r.Version)
	c.text("environment", r.Environment.OS, r.Environment.Arch, r.Environment.Engine)
	c.text("pipeline", r.Pipeline.Name, r.Pipeline.File)
	c.want(r.Pipeline.Name != "", "the pipeline has no name")
	c.want(cleanPath(r.Pipeline.File), "pipeline file %q is not a clean relative path", r.Pipeline.File)
	if r.Source != nil {
		c.text("source", r.Source.Commit)
	}
	c.want(len(r.Steps) > 0, "no steps")
	names := make(map[string]bool, len(r.Steps))
	for i := range r.Steps {
		s := &r.Steps[i]
		c.want(s.Name != "", "step %d has no name", i+1)
		c.want(!names[s.Name], "two steps are named %q", s.Name)
		names[s.Name] = true
		c.step(s)
	}
}

func (c *checker) step(s *Step) {
	where := fmt.Sprintf("step %q", s.Name)
	c.text(where, s.Name, s.Command, s.Type, s.Error, s.Isolation, s.Network, s.Image)
	c.text(where, s.Controls...)
	c.text(where, s.PassEnv...)
	c.text(where, s.Needs...)
	for name, value := range s.Env {
		c.text(where, name, value)
	}
	switch s.Status {
	case Succeeded, Failed, Skipped, Interrupted:
	default:
		c.want(false, "%s: status %q", where, s.Status)
	}
	switch s.Cache {
	case Hit, Miss, Off:
	default:
		c.want(false, "%s: cache %q", where, s.Cache)
	}
	c.want(s.ExitCode >= -1<<31 && s.ExitCode < 1<<31, "%s: exit code %d", where, s.ExitCode)
	c.want(s.Duration >= 0, "%s: duration_secs is negative", where)
	c.want(s.Isolation != "", "%s: no isolation", where)
	c.findings(where, s)
	c.digest(where+": key", s.Key, true)
	c.digest(where+": log", s.Log, true)
	c.paths(where+": inputs", s.Inputs, 0)
	c.paths(where+": outputs", s.Outputs, digest.SHA256)
}

// paths wants entries in order, none of them covered by another, and second as
// the algorithm of their second digest.
func (c *checker) paths(where string, paths []Path, second digest.Algorithm) {
	folder := ""
	for i, p := range paths {
		name, isDir := strings.CutSuffix(p.Path, "/")
		c.want(cleanPath(name), "%s: %q is not a clean relative path", where, p.Path)
		c.text(where, p.Path)
		c.want(i == 0 || paths[i-1].Path < p.Path, "%s: %q is out of order", where, p.Path)
		c.want(folder == "" || !strings.HasPrefix(p.Path, folder), "%s: %q is in %q already", where, p.Path, folder)
		if isDir {
			folder = p.Path
			c.want(p.Mode == "", "%s: %q is a folder with a mode", where, p.Path)
		} else {
			c.want(p.Mode == ModeFile || p.Mode == ModeExecutable || p.Mode == ModeSymlink, "%s: %q has mode %q", where, p.Path, p.Mode)
		}
		c.want(p.Hash.Algorithm() == digest.BLAKE3, "%s: %q has no BLAKE3 digest", where, p.Path)
		c.want(p.SHA256.Algorithm() == second, "%s: %q: its second digest is %q", where, p.Path, p.SHA256)
	}
}

func cleanPath(p string) bool {
	return p != "" && p != "." && p != ".." && p[0] != '/' && path.Clean(p) == p &&
		!strings.HasPrefix(p, "../") && strings.IndexByte(p, 0) < 0
}

const signaturePrefix = "ed25519:"

// signature wants both of its fields or none, in their one spelling. What they
// are worth is not asked here.
func (c *checker) signature(r *Receipt) {
	c.want((r.Signature == "") == (r.SignerPublicKey == ""), "signature and signer_public_key go together")
	if r.Signature != "" {
		c.want(isHex(r.Signature, 64), "signature is not %s and 128 lower-case hexadecimal digits", signaturePrefix)
		c.want(isHex(r.SignerPublicKey, 32), "signer_public_key is not %s and 64 lower-case hexadecimal digits", signaturePrefix)
	}
}

func isHex(s string, size int) bool {
	digits, ok := strings.CutPrefix(s, signaturePrefix)
	raw, err := hex.DecodeString(digits)
	return ok && err == nil && len(raw) == size && strings.ToLower(digits) == digits
}
