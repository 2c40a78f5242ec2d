// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// draft is a step as it was written, before the pipeline's defaults.
type draft struct {
	Step
	at        field            // its name
	fields    map[string]field // keys that decide together with others
	env       []variable
	limits    placedLimits
	passEnv   []field
	noCache   bool
	isolation string
	network   string
}

var (
	stepKeys = []key[draft]{
		{"run", readRun},
		{"inputs", readInputs},
		{"outputs", func(p *parser, f field, d *draft) { d.Outputs = p.patterns(f, true) }},
		{"needs", readNeeds},
		{"env", func(p *parser, f field, d *draft) { d.env = p.env(f) }},
		{"pass_env", readPassEnv},
		{"working_dir", readWorkingDir},
		{"image", func(p *parser, f field, d *draft) { d.Image, d.ImagePos = p.image(f), p.at(f.value) }},
		{"isolation", func(p *parser, f field, d *draft) {
			d.isolation, _ = p.choice(f, []string{string(Process), string(Container), string(VM)})
		}},
		{"network", readNetwork},
		{"limits", func(p *parser, f field, d *draft) { readMapping(p, f, "limits", limitKeys, &d.limits) }},
		{"secrets", readSecrets},
		{"caches", readCaches},
		{"cache", func(p *parser, f field, d *draft) {
			v, ok := p.boolean(f)
			d.noCache = ok && !v
		}},
		{"timeout_secs", func(p *parser, f field, d *draft) { d.Timeout, _ = p.seconds(f) }},
		{"attestation", func(p *parser, f field, d *draft) {
			readMapping(p, f, "attestation", stepAttestationKeys, &d.Attestation)
		}},
	}
	stepAttestationKeys = []key[StepAttestation]{
		{"type", func(p *parser, f field, a *StepAttestation) {
			a.Type, _ = p.choice(f, []string{"build", "test", "scan", "deploy"})
		}},
		{"generate_slsa", func(p *parser, f field, a *StepAttestation) { a.GenerateSLSA, _ = p.boolean(f) }},
		{"reproducible", func(p *parser, f field, a *StepAttestation) { a.Reproducible, _ = p.boolean(f) }},
	}
)

// steps reads both forms: a mapping by name, and a list of mappings that hold
// their names.
func (p *parser) steps(f field) []draft {
	all := make([]draft, 0, len(f.value.Content))
	switch f.value.Kind {
	case yaml.MappingNode:
		for _, f := range p.fields(f, "steps") {
			d := p.step(f, "")
			d.at = field{name: f.name, pos: f.pos}
			p.checkName(d.at, f.name, "step name")
			all = append(all, d)
		}
	case yaml.SequenceNode:
		items, _ := p.items(f, "step")
		for _, item := range items {
			all = append(all, p.step(item, "name"))
		}
	default:
		p.wrongType(f, "steps must be a mapping of names to steps, or a list")
		return nil
	}
	if len(f.value.Content) == 0 {
		p.report(p.at(f.value), "steps is empty", "add at least one step: steps: {build: {run: make}}")
	}
	return all
}

// step reads one step. nameKey is the key that holds its name, empty where its
// name is its key.
func (p *parser) step(f field, nameKey string) draft {
	d := draft{Step: Step{AllInputs: true, WorkingDir: "."}, at: f}
	what := "a step"
	if nameKey == "" {
		what = "step " + show(f.name)
	}
	d.fields = map[string]field{}
	for _, k := range p.fields(f, what) {
		switch read, known := find(stepKeys, k.name); {
		case k.name == nameKey && nameKey != "":
			if name, ok := p.name(k, "step name"); ok {
				d.Name = name
			}
			d.at = field{name: d.Name, pos: p.at(k.value)}
		case known:
			d.fields[k.name] = k
			read(p, k, &d)
		default:
			p.unknownStepKey(k, what, nameKey)
		}
	}
	if nameKey == "" {
		d.Name = f.name
	} else if d.at.pos == f.pos && f.value.Kind == yaml.MappingNode {
		p.report(f.pos, "a step has no name", "begin it with a name: - name: build")
	}
	if _, ok := d.fields["run"]; !ok && f.value.Kind == yaml.MappingNode {
		p.report(d.at.pos, what+" has no run", "say what it runs, run: make, or remove the step")
	}
	return d
}

func (p *parser) unknownStepKey(k field, what, nameKey string) {
	known := names(stepKeys)
	if nameKey != "" {
		known = append(known, nameKey)
	}
	switch k.name {
	case "name":
		p.report(k.pos, "unknown key \"name\" in "+what, "in a mapping of steps the key is the name")
	case "type", "generate_slsa", "reproducible":
		p.report(k.pos, "unknown key "+show(k.name)+" in "+what, "write attestation: {"+k.name+": ...}")
	default:
		p.unknownKey(k, what, known)
	}
}

const scriptHint = "begin it with #!/bin/sh, so that it is run as a file, or put it in a file of the project"

func readRun(p *parser, f field, d *draft) {
	d.RunPos = p.at(f.value)
	if f.value.Kind == yaml.SequenceNode {
		d.Run.Argv = p.argv(f)
		return
	}
	s, ok := p.text(f)
	first, _, _ := strings.Cut(s, "\n")
	switch {
	case !ok:
	case strings.TrimSpace(s) == "":
		p.report(d.RunPos, "run is empty", "say what the step runs")
	case strings.HasPrefix(s, "#!") && strings.TrimSpace(first[2:]) == "":
		p.report(d.RunPos, "the first line, #!, names no interpreter", "write for instance #!/usr/bin/env python3")
	case strings.HasPrefix(s, "#!"):
		d.Run.Script = s
	case len(s) > maxString:
		p.report(d.RunPos, "run is longer than the 128 KiB that a shell takes", scriptHint)
	default:
		d.Run.Shell = s
	}
}

func (p *parser) argv(f field) []string {
	items, _ := p.items(f, "word of run")
	if len(items) == 0 {
		p.report(p.at(f.value), "run is empty", "say what the step runs")
	}
	argv := make([]string, 0, len(items))
	for i, item := range items {
		word, ok := p.word(item)
		switch {
		case !ok:
		case i == 0 && strings.TrimSpace(word) == "":
			p.report(item.pos, "run has no program", "its first word is what is run")
		case len(word) > maxString:
			p.report(item.pos, "a word of run is longer than the 128 KiB that a program takes", "put it in a file of the project")
		}
		argv = append(argv, word)
	}
	return argv
}

func readInputs(p *parser, f field, d *draft) {
	d.Inputs, d.AllInputs = p.patterns(f, false), false
	if len(d.Inputs) > 0 && !slices.ContainsFunc(d.Inputs, func(pat Pattern) bool { return !pat.Exclude }) {
		p.report(p.at(f.value), "inputs only excludes", `begin with what is there to exclude from: [".", "!...]`)
	}
}

func readNeeds(p *parser, f field, d *draft) {
	items, _ := p.items(f, "name in needs")
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		name, ok := p.text(item)
		if !ok {
			continue
		}
		if seen[name] {
			p.report(item.pos, "needs names "+show(name)+" twice")
			continue
		}
		seen[name] = true
		d.Needs = append(d.Needs, Need{Name: name, Pos: item.pos})
	}
}

func readPassEnv(p *parser, f field, d *draft) {
	items, _ := p.items(f, "name in pass_env")
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		name, ok := p.text(item)
		if !ok || !p.envName(item, name) {
			continue
		}
		if seen[name] {
			p.report(item.pos, "pass_env names "+name+" twice")
			continue
		}
		seen[name] = true
		d.passEnv = append(d.passEnv, field{name: name, pos: item.pos})
		d.PassEnv = append(d.PassEnv, name)
	}
}

func readWorkingDir(p *parser, f field, d *draft) {
	s, ok := p.text(f)
	if !ok {
		return
	}
	clean, err := checkPath(s)
	if err != nil {
		p.reportPath(f, s, err)
		return
	}
	d.WorkingDir = clean
}
