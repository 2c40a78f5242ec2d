// SPDX-License-Identifier: Apache-2.0

package intoto

//lint:file-ignore SA1019 see intoto.go.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/common"
	slsa "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
)

// external is what whoever starts a build decides. The command is not in it: the
// pipeline file's digest says it, and more besides.
type external struct {
	Pipeline pipelineFile `json:"pipeline"`
	Steps    []string     `json:"steps"`
	PassEnv  []string     `json:"passEnv,omitempty"`
}

type pipelineFile struct {
	Path   string           `json:"path"`
	Digest common.DigestSet `json:"digest"`
}

func (f Facts) external(steps []receipt.Step) external {
	e := external{Pipeline: pipelineFile{
		Path:   f.Receipt.Pipeline.File,
		Digest: descriptor("", f.Receipt.PipelineHash).Digest,
	}}
	for _, s := range steps {
		e.Steps = append(e.Steps, s.Name)
		e.PassEnv = append(e.PassEnv, s.PassEnv...)
	}
	slices.Sort(e.PassEnv)
	e.PassEnv = slices.Compact(e.PassEnv)
	return e
}

// internal is what the builder decided.
type internal struct {
	Platform string         `json:"platform"`
	Engine   string         `json:"engine,omitempty"`
	Steps    []internalStep `json:"steps"`
}

type internalStep struct {
	Name      string   `json:"name"`
	Isolation string   `json:"isolation"`
	Network   string   `json:"network,omitempty"`
	Controls  []string `json:"controls,omitempty"`
	Cache     string   `json:"cache"`
	Key       string   `json:"key,omitempty"`
}

func (f Facts) internal(steps []receipt.Step) internal {
	env := f.Receipt.Environment
	in := internal{Platform: env.OS + "/" + env.Arch, Engine: env.Engine}
	for _, s := range steps {
		in.Steps = append(in.Steps, internalStep{
			s.Name, s.Isolation, s.Network, s.Controls, string(s.Cache), s.Key.String(),
		})
	}
	return in
}

const builderBase = "https://github.com/attest-pipeline/attest/builder/local-"

// builder names who is trusted to have made the statement. Each level of
// isolation has a name of its own, because each keeps other promises; a run of
// several levels can claim no more than the weakest of them.
func (f Facts) builder(steps []receipt.Step) slsa.Builder {
	level := "vm"
	for _, weaker := range []string{"container", "process"} {
		if slices.ContainsFunc(steps, func(s receipt.Step) bool { return s.Isolation == weaker }) {
			level = weaker
		}
	}
	return slsa.Builder{
		ID:      builderBase + level + "@v0.1",
		Version: map[string]string{"attest": f.Receipt.Version},
	}
}

// dependencies names the images, what came over recorded networks, the source
// commit and the inputs.
func (f Facts) dependencies(steps []receipt.Step) ([]slsa.ResourceDescriptor, error) {
	var out []slsa.ResourceDescriptor
	images := map[string]bool{}
	for _, s := range steps {
		if s.Image != "" && !images[s.Image] {
			images[s.Image] = true
			out = append(out, imageOf(s.Image))
		}
	}
	out = append(out, fetchedBy(steps)...)
	if src := f.Receipt.Source; src != nil && src.Commit != "" {
		d := slsa.ResourceDescriptor{Name: "source", Digest: common.DigestSet{"gitCommit": src.Commit}}
		if src.Dirty {
			d.Annotations = map[string]any{"dirty": true}
		}
		out = append(out, d)
	}
	inputs := inputsOf(steps)
	if len(inputs) <= MaxSubjects {
		for _, p := range inputs {
			out = append(out, descriptor(p.Path, p.Hash))
		}
		return out, nil
	}
	all, err := digestOfInputs(inputs)
	return append(out, descriptor("inputs", all)), err
}

// digestOfInputs is the digest of the canonical JSON of a list of pairs of path
// and hash.
func digestOfInputs(inputs []receipt.Path) (digest.Digest, error) {
	pairs := make([][2]string, len(inputs))
	for i, p := range inputs {
		pairs[i] = [2]string{p.Path, p.Hash.String()}
	}
	text, err := canon.Marshal(pairs)
	return digest.Of(text), err
}

// inputsOf returns what the steps read that none of them made, each once and
// ordered by path.
func inputsOf(steps []receipt.Step) []receipt.Path {
	made := map[string]bool{}
	for _, s := range steps {
		for _, p := range s.Outputs {
			made[p.Path] = true
		}
	}
	isMade := func(p string) bool {
		for {
			if made[p] {
				return true
			}
			i := strings.LastIndexByte(strings.TrimSuffix(p, "/"), '/')
			if i < 0 {
				return false
			}
			p = p[:i+1]
		}
	}
	var inputs []receipt.Path
	for _, s := range steps {
		for _, p := range s.Inputs {
			if !isMade(p.Path) {
				inputs = append(inputs, p)
			}
		}
	}
	slices.SortFunc(inputs, func(a, b receipt.Path) int {
		return strings.Compare(a.Path+" "+a.Hash.String(), b.Path+" "+b.Hash.String())
	})
	return slices.CompactFunc(inputs, func(a, b receipt.Path) bool { return a.Path == b.Path && a.Hash == b.Hash })
}

// fetchedBy returns what the steps got over recorded networks, each once and
// ordered by URL and digest.
func fetchedBy(steps []receipt.Step) []slsa.ResourceDescriptor {
	var all []receipt.Fetch
	for _, s := range steps {
		all = append(all, s.Fetched...)
	}
	slices.SortFunc(all, func(a, b receipt.Fetch) int {
		return cmp.Or(strings.Compare(a.URL, b.URL), strings.Compare(a.SHA256.String(), b.SHA256.String()))
	})
	var out []slsa.ResourceDescriptor
	for _, f := range slices.Compact(all) {
		out = append(out, slsa.ResourceDescriptor{URI: f.URL, Digest: descriptor("", f.SHA256).Digest})
	}
	return out
}

func imageOf(image string) slsa.ResourceDescriptor {
	uri := image
	if !strings.Contains(uri, "://") {
		uri = "docker-image://" + uri
	}
	d := slsa.ResourceDescriptor{URI: uri}
	if i := strings.LastIndexByte(image, '@'); i >= 0 {
		if sum, err := digest.Parse(image[i+1:]); err == nil {
			d.Digest = descriptor("", sum).Digest
		}
	}
	return d
}

// byproducts names the receipt and the logs.
func (f Facts) byproducts(steps []receipt.Step) []slsa.ResourceDescriptor {
	out := []slsa.ResourceDescriptor{f.receipt()}
	for _, s := range steps {
		if !s.Log.IsZero() {
			out = append(out, descriptor("log of "+s.Name, s.Log))
		}
	}
	return out
}
