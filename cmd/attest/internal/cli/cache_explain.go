// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
)

type cacheExplainCmd struct {
	Step      string  `arg:"" help:"The step."`
	Isolation *string `placeholder:"LEVEL" help:"As for attest run."`
	pipelineFlag
	jsonFlag
}

// Help says what is compared.
func (cacheExplainCmd) Help() string {
	return `Computes the step's key from what is on disk now, and says what would be found and what is different from the last time that the step succeeded. Nothing is run. Outputs of steps that it needs are taken as they are.

Values that pass_env lets through are shown by their hash only.

Examples:

    attest cache explain build
    attest cache explain build --json`
}

// explained is what there is to say about a step's key, for --json.
type explained struct {
	Step   string           `json:"step"`
	Cache  receipt.CacheUse `json:"cache"`
	Reason string           `json:"reason,omitempty"`
	Key    string           `json:"key"`
	// Document is the key's pre-image, as it is hashed.
	Document json.RawMessage   `json:"document"`
	Image    string            `json:"image,omitempty"`
	Inputs   []explainedInput  `json:"inputs"`
	LastKey  string            `json:"last_key,omitempty"`
	Changes  []cachekey.Change `json:"changes"`
}

type explainedInput struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Size int64  `json:"size"`
	Hash string `json:"hash,omitempty"`
}

// Run prints what the key is made of.
func (c *cacheExplainCmd) Run(ctx context.Context, env *Env) error {
	e, err := c.explain(ctx, env)
	if err != nil {
		return err
	}
	if !env.json {
		return c.print(env, e)
	}
	result := explained{
		Step: e.Step, Cache: e.Cache, Reason: e.Reason, Key: e.Key.String(), Document: e.Document, Image: e.Image,
		Inputs: []explainedInput{}, LastKey: e.Last.String(), Changes: e.Changes,
	}
	if result.Changes == nil {
		result.Changes = []cachekey.Change{}
	}
	for _, f := range e.Inputs.Entries() {
		result.Inputs = append(result.Inputs, explainedInput{f.Path, fmt.Sprintf("%04o", f.Mode()), f.Size, f.Digest.String()})
	}
	env.result = result
	return nil
}

func (c *cacheExplainCmd) explain(ctx context.Context, env *Env) (*engine.Explanation, error) {
	p, err := c.load(env)
	if err != nil {
		return nil, err
	}
	root := c.root(env)
	settings, err := config.Load(root, env.Getenv)
	if err == nil {
		err = settings.Flag(config.Isolation, c.Isolation)
	}
	if err != nil {
		return nil, err
	}
	if p, err = atLevel(p, settings.Get(config.Isolation).Value); err != nil {
		return nil, err
	}
	planned, err := plan.New(p, c.Step)
	if err != nil {
		return nil, err
	}
	locked, err := c.loadLock(env)
	if err != nil {
		return nil, err
	}
	levels, err := newLevels(env, settings, root)
	if err != nil {
		return nil, err
	}
	return engine.Explain(ctx, engine.Options{
		Plan: planned, Root: root, Lock: locked, Images: levels.images.Pin, Environ: env.Environ, Now: env.Now, CacheDir: levels.cacheDir,
		Sink: event.SinkFunc(func(e event.Event) {
			if w, ok := e.Body.(event.Warning); ok {
				env.note("warning: %s", display.Message(w.Message))
			}
		}),
	}, c.Step)
}

// document is the pre-image of a key, as far as it is shown.
type document struct {
	Command    map[string]any     `json:"command"`
	Env        map[string]string  `json:"env"`
	PassEnv    map[string]*string `json:"pass_env"`
	Isolation  string             `json:"isolation"`
	Network    string             `json:"network"`
	Platform   string             `json:"platform"`
	WorkingDir string             `json:"working_dir"`
	Inputs     string             `json:"inputs"`
	CPUs       int                `json:"cpus"`
	Allow      []string           `json:"network_allow"`
	Caches     map[string]string  `json:"caches"`
	Secrets    map[string]struct {
		Hash, Mount string
	} `json:"secrets"`
	Deterministic *struct{ Epoch, Seed string } `json:"deterministic"`
	Outputs       []struct {
		Path                      string
		Exclude, Folder, Optional bool
	} `json:"outputs"`
}

func (c *cacheExplainCmd) print(env *Env, e *engine.Explanation) error {
	var doc document
	if err := json.Unmarshal(e.Document, &doc); err != nil {
		return fmt.Errorf("reading the key's document: %w", err)
	}
	var b strings.Builder
	line := func(name, text string) {
		if name != "" {
			name += ":"
		}
		fmt.Fprintf(&b, "  %-12s %s\n", name, display.Message(text))
	}
	fmt.Fprintf(&b, "%s: cache %s\n", e.Step, outcome(e))
	line("key", e.Key.String())
	doc.lines(line)
	if e.Image != "" {
		line("image", e.Image)
	}
	line("inputs", count(e.Inputs.Len(), "file")+", "+doc.Inputs)
	for i, f := range e.Inputs.Entries() {
		if i == mostFiles {
			fmt.Fprintf(&b, "    and %d more; --json has them all\n", e.Inputs.Len()-i)
			break
		}
		fmt.Fprintf(&b, "    %04o %s %s\n", f.Mode(), f.Digest, source.Name(f.Path))
	}
	b.WriteString(differences(e))
	return env.print("%s", strings.TrimSuffix(b.String(), "\n"))
}

// lines calls line for every part but the inputs.
func (d document) lines(line func(name, text string)) {
	for kind, text := range d.Command {
		if words, ok := text.([]any); ok {
			line(kind, fmt.Sprintf("%q", words))
			continue
		}
		for text := range strings.Lines(fmt.Sprint(text)) {
			line(kind, text)
			kind = ""
		}
	}
	line("working_dir", d.WorkingDir)
	line("isolation", d.Isolation+", network "+d.Network+", "+d.Platform)
	for _, n := range slices.Sorted(maps.Keys(d.Env)) {
		line("env", n+"="+d.Env[n])
	}
	for _, n := range slices.Sorted(maps.Keys(d.PassEnv)) {
		if hash := d.PassEnv[n]; hash != nil {
			line("pass_env", n+", with a value that hashes to "+*hash)
		} else {
			line("pass_env", n+", which is not set")
		}
	}
	d.extras(line)
	for _, o := range d.Outputs {
		text := o.Path
		if o.Exclude {
			text = "!" + text
		}
		if o.Folder {
			text += "/"
		}
		if o.Optional {
			text += "?"
		}
		line("outputs", text)
	}
}

// extras is lines for what most steps do not have.
func (d document) extras(line func(name, text string)) {
	if d.CPUs > 0 {
		line("cpus", fmt.Sprint(d.CPUs))
	}
	if len(d.Allow) > 0 {
		line("allow", strings.Join(d.Allow, ", "))
	}
	for _, n := range slices.Sorted(maps.Keys(d.Caches)) {
		line("cache", n+" at "+d.Caches[n])
	}
	for _, n := range slices.Sorted(maps.Keys(d.Secrets)) {
		text := n + ", with the keyed hash " + d.Secrets[n].Hash
		if mount := d.Secrets[n].Mount; mount != "" {
			text += ", at " + mount
		}
		line("secret", text)
	}
	if d.Deterministic != nil {
		line("fixed", "the time is "+d.Deterministic.Epoch+", random numbers come from the seed "+d.Deterministic.Seed)
	}
}

// mostFiles bounds how many files a list has.
const mostFiles = 50

func outcome(e *engine.Explanation) string {
	switch {
	case e.Cache == receipt.Hit:
		return "hit"
	case e.Cache == receipt.Off:
		return "off: this step's results are not kept"
	}
	return "miss (" + display.Message(e.Reason) + ")"
}

// differences says what changed since the step last succeeded.
func differences(e *engine.Explanation) string {
	var b strings.Builder
	switch {
	case e.Cache == receipt.Off:
		return ""
	case e.Last.IsZero():
		return "no successful run to compare with\n"
	case e.Last == e.Key:
		return "nothing changed since the last successful run\n"
	}
	fmt.Fprintf(&b, "changed since the last successful run, with the key %s:\n", e.Last)
	if len(e.Changes) == 0 {
		fmt.Fprintf(&b, "  %s\n", display.Message(e.Reason))
	}
	for _, c := range e.Changes {
		for i, f := range c.Files {
			if i == mostFiles {
				fmt.Fprintf(&b, "  and %d more inputs; --json has them all\n", len(c.Files)-i)
				break
			}
			fmt.Fprintf(&b, "  input %s: %s\n", source.Name(f.Path), f.Change)
		}
		name := strings.TrimSpace(c.What + " " + c.Name)
		switch {
		case len(c.Files) > 0:
		case c.Before == "" && c.After == "":
			fmt.Fprintf(&b, "  %s: changed; the values are not kept\n", name)
		default:
			fmt.Fprintf(&b, "  %s: %q -> %q\n", name, c.Before, c.After)
		}
	}
	return b.String()
}
