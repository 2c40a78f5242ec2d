// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// finish applies the pipeline's defaults to the steps and checks what no step
// shows alone.
func (p *parser) finish(t *top) {
	t.Env, t.Limits = vars(t.env), t.limits.Limits
	index := p.index(t.steps)
	for i := range t.steps {
		d := &t.steps[i]
		d.Pos = d.at.pos
		d.Cache = t.Cache.Enabled && !d.noCache
		limits := d.limits.over(t.limits)
		d.Limits, d.LimitPos = limits.Limits, limits.pos
		d.Attestation.Reproducible = d.Attestation.Reproducible || t.Attestation.RequireReproducible
		p.mergeEnv(t, d)
		p.level(t, d)
		p.checkSecrets(d)
	}
	p.checkNeeds(t.steps, index)
	p.checkPaths(t.steps, index)
	t.Steps = make([]Step, len(t.steps))
	for i := range t.steps {
		t.Steps[i] = t.steps[i].Step
	}
}

// index returns the place of every step by name. Of two with one name, or with
// names that only differ in case and so in no file name everywhere, the second
// is reported.
func (p *parser) index(steps []draft) map[string]int {
	index := make(map[string]int, len(steps))
	folded := make(map[string]int, len(steps))
	for i := range steps {
		d := &steps[i]
		if d.Name == "" {
			continue
		}
		first, twice := folded[strings.ToLower(d.Name)]
		switch {
		case !twice:
			folded[strings.ToLower(d.Name)] = i
		case steps[first].Name == d.Name:
			p.report(d.at.pos, "duplicate step "+show(d.Name), fmt.Sprintf("it stands first in line %d", steps[first].at.pos.Line))
			continue
		default:
			p.report(d.at.pos, fmt.Sprintf("step %s differs from step %s in case only", show(d.Name), show(steps[first].Name)),
				"give one of them another name")
		}
		index[d.Name] = i
	}
	return index
}

// mergeEnv joins the pipeline's and the step's variables; the step's win.
func (p *parser) mergeEnv(t *top, d *draft) {
	for _, name := range d.passEnv {
		byName := func(v variable, s string) int { return strings.Compare(v.Name, s) }
		_, own := slices.BinarySearchFunc(d.env, name.name, byName)
		_, common := slices.BinarySearchFunc(t.env, name.name, byName)
		if own || common {
			p.report(name.pos, name.name+" is in env and in pass_env", "remove it from one of them")
		}
	}
	if len(d.env) == 0 {
		d.Env = t.Env
		return
	}
	if len(t.Env) == 0 {
		d.Env = vars(d.env)
		return
	}
	if !p.spendN(len(t.Env), d.at.pos) {
		return
	}
	d.Env = make([]Var, 0, len(t.Env)+len(d.env))
	own := vars(d.env)
	for common := t.Env; len(common) > 0 || len(own) > 0; {
		switch {
		case len(own) == 0 || len(common) > 0 && common[0].Name < own[0].Name:
			d.Env, common = append(d.Env, common[0]), common[1:]
		default:
			if len(common) > 0 && common[0].Name == own[0].Name {
				common = common[1:]
			}
			d.Env, own = append(d.Env, own[0]), own[1:]
		}
	}
}

// level settles isolation, image and network, which decide together.
func (p *parser) level(t *top, d *draft) {
	_, hasImage := d.fields["image"]
	_, hasNetwork := d.fields["network"]
	isolation, hasIsolation := d.fields["isolation"]
	if hasIsolation && d.isolation == "" || hasNetwork && d.network == "" {
		return // reported
	}
	switch {
	case d.isolation != "":
		d.Isolation = Isolation(d.isolation)
	case hasImage || t.seen["image"]:
		d.Isolation = Container
	default:
		d.Isolation = Process
	}
	d.Network = Network(d.network)
	if d.Isolation == Process {
		p.processLevel(d)
		return
	}
	if d.Network == "" {
		d.Network = NetworkNone
	}
	if !hasImage {
		d.Image, d.ImagePos = t.Image, t.imagePos
		if !t.seen["image"] {
			p.report(p.at(isolation.value), "isolation: "+d.isolation+" needs an image", "add image: name:tag to the step or the pipeline")
		}
	}
}

// processLevel is level for a step that runs on the host.
func (p *parser) processLevel(d *draft) {
	if image, ok := d.fields["image"]; ok {
		p.report(image.pos, "image has no effect with isolation: process", "remove one of them")
		d.Image = ""
	}
	switch d.Network {
	case NetworkNone: // in a network namespace with nothing in it
	case NetworkRecorded:
		p.report(p.at(d.fields["network"].value), "network: recorded is not available for a process of this host",
			"give the step an image: in a container every fetch is recorded")
	default:
		d.Network = NetworkHost
	}
}
