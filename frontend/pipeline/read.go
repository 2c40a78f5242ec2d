// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/frontend/source"
)

// top is a pipeline while it is being read.
type top struct {
	*Pipeline
	env    []variable
	limits placedLimits
	steps  []draft
	seen   map[string]bool // keys that were there

	imagePos source.Pos
}

// keysOf are the tables of keys, one for each mapping of the format.
var (
	pipelineKeys = []key[top]{
		{"version", readVersion},
		{"name", func(p *parser, f field, t *top) { t.Name, _ = p.name(f, "name") }},
		{"description", func(p *parser, f field, t *top) { t.Description, _ = p.text(f) }},
		{"env", func(p *parser, f field, t *top) { t.env = p.env(f) }},
		{"image", func(p *parser, f field, t *top) { t.Image, t.imagePos = p.image(f), p.at(f.value) }},
		{"limits", func(p *parser, f field, t *top) { readMapping(p, f, "limits", limitKeys, &t.limits) }},
		{"attestation", func(p *parser, f field, t *top) {
			readMapping(p, f, "attestation", attestationKeys, &t.Attestation)
		}},
		{"cache", func(p *parser, f field, t *top) { readMapping(p, f, "cache", cacheKeys, &t.Cache) }},
		{"steps", func(p *parser, f field, t *top) { t.steps = p.steps(f) }},
	}
	attestationKeys = []key[Attestation]{
		{"sign_all_steps", func(p *parser, f field, a *Attestation) { a.SignAllSteps, _ = p.boolean(f) }},
		{"verify_dependencies", func(p *parser, f field, a *Attestation) { a.VerifyDependencies, _ = p.boolean(f) }},
		{"require_reproducible", func(p *parser, f field, a *Attestation) { a.RequireReproducible, _ = p.boolean(f) }},
	}
	cacheKeys = []key[Cache]{
		{"enabled", func(p *parser, f field, c *Cache) { c.Enabled, _ = p.boolean(f) }},
		{"max_size", func(p *parser, f field, c *Cache) { c.MaxSize, _ = p.size(f) }},
		{"compression", func(p *parser, f field, c *Cache) { c.Compression, _ = p.boolean(f) }},
		{"retention_days", func(p *parser, f field, c *Cache) { c.Retention, _ = p.days(f) }},
	}
)

func (p *parser) pipeline(root *yaml.Node, pipe *Pipeline) {
	at := field{name: "the file", pos: p.at(root), value: resolve(root)}
	if at.value.Kind != yaml.MappingNode {
		p.report(at.pos, "an attest.yaml must be a mapping of keys to values", `it begins like this: version: "0.1"`)
		return
	}
	t := &top{Pipeline: pipe, seen: map[string]bool{}}
	for i := 0; i+1 < len(at.value.Content); i += 2 {
		t.seen[at.value.Content[i].Value] = true
	}
	if p.unsupported(at.value) {
		return
	}
	readMapping(p, at, "the pipeline", pipelineKeys, t)
	for _, k := range []string{"version", "name", "steps"} {
		if !t.seen[k] {
			p.report(at.pos, "the pipeline has no "+k, missingHint[k])
		}
	}
	p.finish(t)
}

var missingHint = map[string]string{
	"version": `add a line: version: "0.1"`,
	"name":    "add a line: name: my-project",
	"steps":   "add at least one step: steps: {build: {run: make}}",
}

// unsupported reports whether the file is of another version, and that alone:
// what its keys mean is not known here.
func (p *parser) unsupported(root *yaml.Node) bool {
	for i := 0; i+1 < len(root.Content); i += 2 {
		v := resolve(root.Content[i+1])
		if root.Content[i].Value == "version" && v.Kind == yaml.ScalarNode && v.ShortTag() == "!!str" && v.Value != Version {
			p.report(p.at(v), fmt.Sprintf("version %s is not supported", show(v.Value)),
				fmt.Sprintf("this attest reads version: %q; a newer file needs a newer attest", Version))
			return true
		}
	}
	return false
}

func readVersion(p *parser, f field, t *top) { t.Version, _ = p.text(f) }

// variable is a [Var] with its place.
type variable struct {
	Var
	at field
}

// maxString is what the Linux kernel takes as one argument or variable, its
// NUL not counted.
const maxString = 128<<10 - 1

// env returns the variables of a mapping ordered by name.
func (p *parser) env(f field) []variable {
	var all []variable
	for _, f := range p.fields(f, f.name) {
		if !p.envName(f, f.name) {
			continue
		}
		value, ok := p.word(f)
		if ok && len(f.name)+1+len(value) > maxString {
			p.report(p.at(f.value), f.name+" is longer than a variable can be", "write it to a file and name it as an input")
		}
		all = append(all, variable{Var{f.name, value}, f})
	}
	slices.SortFunc(all, func(a, b variable) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (p *parser) envName(f field, name string) bool {
	bad := name == "" || '0' <= name[0] && name[0] <= '9' ||
		strings.ContainsFunc(name, func(r rune) bool { return !isAlnum(r) && r != '_' })
	if bad {
		p.report(f.pos, show(name)+" is not the name of a variable", "a name holds letters, digits and _, and does not begin with a digit")
	}
	return !bad
}

func vars(list []variable) []Var {
	out := make([]Var, len(list))
	for i, v := range list {
		out[i] = v.Var
	}
	return out
}
