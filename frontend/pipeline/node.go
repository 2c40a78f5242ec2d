// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/frontend/source"
)

// field is one key of a mapping with its value, aliases resolved.
type field struct {
	name  string
	pos   source.Pos // of the key
	value *yaml.Node
}

// key is one key that a mapping may have, and how its value gets into a T.
type key[T any] struct {
	name string
	read func(*parser, field, *T)
}

// readMapping reads the mapping of f into a T by the table. what names the
// mapping in complaints.
func readMapping[T any](p *parser, f field, what string, table []key[T], into *T) {
	for _, f := range p.fields(f, what) {
		read, known := find(table, f.name)
		if !known {
			p.unknownKey(f, what, names(table))
			continue
		}
		read(p, f, into)
	}
}

func find[T any](table []key[T], name string) (func(*parser, field, *T), bool) {
	for _, k := range table {
		if k.name == name {
			return k.read, true
		}
	}
	return nil, false
}

func names[T any](table []key[T]) []string {
	list := make([]string, len(table))
	for i, k := range table {
		list[i] = k.name
	}
	return list
}

// unknownKey reports a key that is in no table, with what may have been meant.
func (p *parser) unknownKey(f field, what string, known []string) {
	msg := fmt.Sprintf("unknown key %s in %s", show(f.name), what)
	for _, k := range known {
		if slices.Contains(habits[k], f.name) {
			p.report(f.pos, msg, "did you mean `"+k+"`?")
			return
		}
	}
	p.unknown(f.pos, msg, f.name, known, "known here: "+strings.Join(known, ", "))
}

// habits are the names that other tools have for our keys.
var habits = map[string][]string{
	"run":          {"command", "cmd", "script", "commands", "exec"},
	"needs":        {"depends_on", "depends", "dependencies", "requires", "after"},
	"env":          {"environment", "variables", "vars"},
	"timeout_secs": {"timeout", "timeout_seconds", "timeout_minutes"},
	"working_dir":  {"workdir", "cwd", "dir", "directory", "working-directory"},
	"outputs":      {"artifacts", "artefacts", "produces"},
	"inputs":       {"sources", "srcs", "files"},
	"steps":        {"jobs", "stages", "tasks"},
	"isolation":    {"executor", "runtime"},
	"limits":       {"resources"},
	"memory":       {"mem", "ram"},
	"cpus":         {"cpu", "cores"},
}

// forms are what mappings look like that people write as lists or words.
var forms = map[string]string{
	"env":         "{NAME: value}",
	"secrets":     "{NAME: {env: NAME}}",
	"caches":      "{NAME: /path/in/the/step}",
	"limits":      "{memory: 2GiB}",
	"attestation": "{type: build}",
}

// fields returns the keys of a mapping in order, having reported what is no
// mapping, a key that stands in it twice and a key that is no plain word.
func (p *parser) fields(f field, what string) []field {
	n := f.value
	if n.Kind != yaml.MappingNode {
		var hints []string
		if form := forms[what]; form != "" {
			hints = []string{"write " + what + ": " + form}
		} else if name, ok := strings.CutPrefix(what, "step "); ok && n.Kind == yaml.ScalarNode {
			hints = []string{"what a step runs stands below run: " + name + ": {run: ...}"}
		}
		p.wrongType(f, what+" must be a mapping of keys to values", hints...)
		return nil
	}
	if !p.untagged(n) || !p.spend(n) {
		return nil
	}
	all := make([]field, 0, len(n.Content)/2)
	seen := make(map[string]source.Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := resolve(n.Content[i])
		f := field{name: k.Value, pos: p.at(n.Content[i]), value: resolve(n.Content[i+1])}
		first, twice := seen[k.Value]
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			p.report(f.pos, "merge keys (<<) are not read", "write the keys out, or share a value with an anchor and an alias")
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			p.report(f.pos, "a key must be a string", "put it in quotes")
		case twice:
			p.report(f.pos, fmt.Sprintf("duplicate key %s in %s", show(k.Value), what),
				fmt.Sprintf("it stands first in line %d", first.Line))
		default:
			seen[k.Value] = f.pos
			all = append(all, f)
		}
	}
	return all
}

// items returns the values of a list, each as a field with its own place; one
// is what complaints call it.
func (p *parser) items(f field, one string) ([]field, bool) {
	n := f.value
	if n.Kind != yaml.SequenceNode {
		p.wrongType(f, f.name+" must be a list", "write "+f.name+": [...], or one line that begins with - for each")
		return nil, false
	}
	if !p.untagged(n) || !p.spend(n) {
		return nil, false
	}
	all := make([]field, len(n.Content))
	for i, c := range n.Content {
		all[i] = field{name: one, pos: p.at(c), value: resolve(c)}
	}
	return all, true
}

// resolve follows an alias. The parser has refused those that lead nowhere;
// one that leads to a collection which holds it is refused by the type of
// value that is wanted there, for no key of ours nests in itself.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// spend takes a collection from the budget, and reports once that it is gone.
func (p *parser) spend(n *yaml.Node) bool {
	values := len(n.Content)
	if n.Kind == yaml.MappingNode {
		values /= 2
	}
	return p.spendN(values+1, p.at(n))
}

func (p *parser) spendN(n int, pos source.Pos) bool {
	if n > p.budget {
		p.report(pos, fmt.Sprintf("the file, its aliases expanded, holds more than %d values", p.most),
			"write large shared values to a file and name it as an input")
		p.budget = -1
		return false
	}
	p.budget -= n
	return true
}

// wrongType reports a value of the wrong kind; one that is absent is reported
// as that.
func (p *parser) wrongType(f field, msg string, hints ...string) {
	if isNull(f.value) {
		p.report(f.pos, f.name+" has no value", "give it one, or leave the key out")
		return
	}
	p.report(p.at(f.value), msg, hints...)
}

// untagged reports a tag that was written out, !!str aside: none has a meaning
// in attest.yaml.
func (p *parser) untagged(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return true
	}
	p.report(p.at(n), "tag "+show(n.Tag)+" has no meaning here", "remove it")
	return false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// show quotes a word of the user's for a complaint, at a bearable length.
func show(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
