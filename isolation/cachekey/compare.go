// SPDX-License-Identifier: Apache-2.0

package cachekey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Preimage is what a key was made of, kept so that the next one can be
// explained.
type Preimage struct {
	// Document is the key's document.
	Document []byte
	// Inputs is the tree that the document has the digest of. Where another
	// tree stands here, the names of its files are of no use and not given.
	Inputs tree.Tree
	// Image is the image's name with its digest; the document has the latter
	// alone. Empty for a process.
	Image string
}

// Digest returns the key.
func (p Preimage) Digest() digest.Digest { return digest.Of(p.Document) }

// Parts returns what a document names by digest: the listing of its inputs,
// and its image, which is zero for a process. Errors match [ErrInvalid].
func Parts(text []byte) (inputs, image digest.Digest, err error) {
	var doc document
	if err = canon.Unmarshal(text, &doc); err == nil {
		inputs, err = digest.Parse(doc.Inputs)
	}
	if err == nil && doc.Image != nil {
		image, err = digest.Parse(*doc.Image)
	}
	if err != nil {
		return digest.Digest{}, digest.Digest{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return inputs, image, nil
}

// Change is one difference between two keys.
type Change struct {
	// What is the part of the document: "inputs", "env" (declared or passed),
	// "secret", "command", "image", "outputs", "working_dir", "isolation",
	// "network", "network_allow", "locked", "cpus", "caches", "deterministic",
	// "platform" or "version".
	What string `json:"what"`
	// Name is the variable's, for "env", or the secret's.
	Name string `json:"name,omitempty"`
	// Before and After are the values, as text or JSON; empty for secrets and
	// values that the caller's environment had, and where there was none.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Files are the differences of the inputs, ordered by path.
	Files []File `json:"files,omitempty"`
}

// File is one input that differs.
type File struct {
	Path string `json:"path"`
	// Change is "changed" (its content), "added", "removed", "mode" (the
	// execute bit alone) or "kind" (a file that became a symbolic link, say).
	Change string `json:"change"`
}

// Compare says in which ways after differs from before. A document of another
// version than this package's is different in that and nothing else; other
// errors match [ErrInvalid].
func Compare(before, after Preimage) ([]Change, error) {
	if bytes.Equal(before.Document, after.Document) {
		return nil, nil
	}
	var docs [2]document
	var versions [2]string
	for i, p := range []Preimage{before, after} {
		var head struct{ Version string }
		if err := json.Unmarshal(p.Document, &head); err != nil || head.Version == "" {
			return nil, fmt.Errorf("%w: its document cannot be read", ErrInvalid)
		}
		versions[i] = head.Version
	}
	if versions[0] != versions[1] {
		return []Change{{What: "version", Before: versions[0], After: versions[1]}}, nil
	}
	for i, p := range []Preimage{before, after} {
		if err := canon.Unmarshal(p.Document, &docs[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return compare(before, after, docs[0], docs[1]), nil
}

func compare(before, after Preimage, a, b document) []Change {
	var all []Change
	if a.Inputs != b.Inputs {
		c := Change{What: "inputs", Before: a.Inputs, After: b.Inputs}
		if before.Inputs.Digest().String() == a.Inputs && after.Inputs.Digest().String() == b.Inputs {
			c.Files = CompareFiles(before.Inputs, after.Inputs)
		}
		all = append(all, c)
	}
	all = append(all, variables(a, b)...)
	for _, n := range slices.Sorted(maps.Keys(union(a.Secrets, b.Secrets))) {
		was, had := a.Secrets[n]
		is, has := b.Secrets[n]
		if was != is || had != has {
			all = append(all, Change{What: "secret", Name: n})
		}
	}
	for _, f := range []struct {
		what          string
		before, after any
	}{
		{"command", a.Command, b.Command}, {"image", deref(a.Image), deref(b.Image)},
		{"outputs", a.Outputs, b.Outputs}, {"working_dir", a.WorkingDir, b.WorkingDir},
		{"isolation", a.Isolation, b.Isolation}, {"network", a.Network, b.Network},
		{"network_allow", a.Allow, b.Allow}, {"locked", a.Locked, b.Locked}, {"cpus", cpus(a.CPUs), cpus(b.CPUs)}, {"caches", a.Caches, b.Caches},
		{"deterministic", a.Deterministic.text(), b.Deterministic.text()}, {"platform", a.Platform, b.Platform},
	} {
		if reflect.DeepEqual(f.before, f.after) {
			continue
		}
		c := Change{What: f.what, Before: text(f.before), After: text(f.after)}
		if f.what == "image" {
			c.Before, c.After = named(before.Image, c.Before), named(after.Image, c.After)
		}
		all = append(all, c)
	}
	return all
}

// union returns the names that are in one of two maps.
func union[T any](a, b map[string]T) map[string]T {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// cpus is a number of processors as people read it.
func cpus(n int) string {
	if n == 0 {
		return "all"
	}
	return strconv.Itoa(n)
}

// text is what is fixed as people read it.
func (d *determinism) text() string {
	if d == nil {
		return "off"
	}
	return strings.TrimSpace(d.Epoch + " " + d.Seed)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// named returns the image's name where it is that of the digest.
func named(name, digest string) string {
	if digest != "" && strings.HasSuffix(name, "@"+digest) {
		return name
	}
	return digest
}

// text is a value of a document as people read it.
func text(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case command:
		switch {
		case t.Shell != "":
			return t.Shell
		case t.Script != "":
			return t.Script
		}
		v = t.Argv
	}
	out, err := canon.Marshal(v)
	if err != nil {
		return "" // it was read from such JSON
	}
	return string(out)
}

// variables compares the declared and the passed ones together: one that
// becomes the other has changed once.
func variables(a, b document) []Change {
	names := map[string]bool{}
	for _, d := range []document{a, b} {
		for n := range d.Env {
			names[n] = true
		}
		for n := range d.PassEnv {
			names[n] = true
		}
	}
	var all []Change
	for _, n := range slices.Sorted(maps.Keys(names)) {
		was, wasSet := a.Env[n]
		is, isSet := b.Env[n]
		passed, passedNow := a.PassEnv[n], b.PassEnv[n]
		_, wasPassed := a.PassEnv[n]
		_, isPassed := b.PassEnv[n]
		if was != is || wasSet != isSet || wasPassed != isPassed || deref(passed) != deref(passedNow) {
			all = append(all, Change{What: "env", Name: n, Before: was, After: is})
		}
	}
	return all
}

// CompareFiles says which files differ between two trees, ordered by path.
func CompareFiles(before, after tree.Tree) []File {
	var all []File
	a, b := before.Entries(), after.Entries()
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			all, a = append(all, File{a[0].Path, "removed"}), a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			all, b = append(all, File{b[0].Path, "added"}), b[1:]
		default:
			if how := differ(a[0], b[0]); how != "" {
				all = append(all, File{a[0].Path, how})
			}
			a, b = a[1:], b[1:]
		}
	}
	return all
}

func differ(a, b tree.Entry) string {
	switch {
	case a.Kind != b.Kind:
		return "kind"
	case a.Digest != b.Digest:
		return "changed"
	case a.Mode() != b.Mode():
		return "mode"
	}
	return ""
}

// namesShown is how many names a reason gives before it counts.
const namesShown = 3

// Reason says in few words what the changes are: "inputs changed: a, b",
// "env NODE_ENV changed", "secret NPM_TOKEN changed", "command changed", "image
// changed: a -> b". It is
// empty where there is none. Paths stand in it as they are.
func Reason(changes []Change) string {
	var parts []string
	named := map[string][]string{}
	for _, c := range changes {
		if c.What == "env" || c.What == "secret" {
			named[c.What] = append(named[c.What], c.Name)
		}
	}
	for _, c := range changes {
		switch c.What {
		case "env", "secret":
			if names := named[c.What]; len(names) > 0 {
				parts = append(parts, c.What+" "+few(names)+" changed")
				named[c.What] = nil // said once, for all of them
			}
		case "network_allow":
			parts = append(parts, "network allow-list changed")
		case "locked":
			parts = append(parts, "attest.lock changed")
		case "inputs":
			var names []string
			for _, f := range c.Files {
				names = append(names, f.Path)
			}
			if len(names) == 0 {
				parts = append(parts, "inputs changed")
			} else {
				parts = append(parts, "inputs changed: "+few(names))
			}
		case "image":
			before, after := shortImages(c.Before, c.After)
			parts = append(parts, "image changed: "+before+" -> "+after)
		case "isolation", "network", "platform", "cpus", "deterministic":
			parts = append(parts, c.What+" changed: "+orNone(c.Before)+" -> "+orNone(c.After))
		case "version":
			parts = append(parts, "format of keys changed")
		default:
			parts = append(parts, c.What+" changed")
		}
	}
	return strings.Join(parts, "; ")
}

// shortImages are two images as one line can hold them: by name, where that
// tells them apart, else with the beginning of the digest.
func shortImages(before, after string) (string, string) {
	a, _, _ := strings.Cut(before, "@")
	b, _, _ := strings.Cut(after, "@")
	if a != b {
		return orNone(shortDigest(a)), orNone(shortDigest(b))
	}
	return shortDigest(before), shortDigest(after)
}

func shortDigest(image string) string {
	const digits = 12
	if i := strings.LastIndex(image, "sha256:"); i >= 0 && len(image) > i+len("sha256:")+digits {
		return image[:i+len("sha256:")+digits]
	}
	return image
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func few(names []string) string {
	if len(names) <= namesShown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesShown], ", "), len(names)-namesShown)
}
