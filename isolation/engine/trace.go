// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// traceDir is where what was seen of steps is kept, relative to the project.
const traceDir = stateDir + "/traces"

// Trace is what a step was seen to do in the project when it last ran with
// [Options.Trace], to its end: a help for whoever writes attest.yaml, and no
// evidence of anything. Paths are relative to the project, and lists ordered.
type Trace struct {
	Schema   string `json:"schema"`
	Pipeline string `json:"pipeline"` // its file, relative to the project
	Step     string `json:"step"`
	// Failed says that it failed, or did what --strict refuses: it may need more
	// than this, and what it wrote is known in the latter case alone.
	Failed bool `json:"failed,omitempty"`
	// Opened are files that were there before the step and that it read or
	// executed, Looked those that it only asked after, and symbolic links.
	Opened []string `json:"opened,omitempty"`
	Looked []string `json:"looked,omitempty"`
	// Missing are paths that it looked for and that were not there.
	Missing []string `json:"missing,omitempty"`
	// Unseen says, in words, why something may be lacking.
	Unseen []string `json:"unseen,omitempty"`
	// Needed are files that it read and that steps left which it needs.
	Needed []string `json:"needed,omitempty"`
	// Outputs are what it left where it declares outputs, Unexpected what it wrote
	// besides: a folder that was not there ends with a slash, and stands for all
	// that is in it. Modified are inputs that it changed.
	Outputs    []string `json:"outputs,omitempty"`
	Unexpected []string `json:"unexpected,omitempty"`
	Modified   []string `json:"modified,omitempty"`
}

const traceSchema = "attest.trace/v1"

// ErrNotTraced is matched by the error of [LastTrace] for a step that was not
// traced.
var ErrNotTraced = errors.New("no run of the step was traced")

// LastTrace returns what was last seen of a step of the pipeline in file, a
// slash-separated path relative to the project, whose folder root is.
func LastTrace(root *os.Root, file, step string) (*Trace, error) {
	name := traceName(file, step)
	data, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("step %s: %w", step, ErrNotTraced)
	}
	if err != nil {
		return nil, err
	}
	var t Trace
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if t.Schema != traceSchema || t.Pipeline != file || t.Step != step {
		return nil, fmt.Errorf("reading %s: it is a trace of another version, or of another step", name)
	}
	return &t, nil
}

// traceName is what the trace of a step is called: step names may hold anything.
func traceName(file, step string) string {
	const enough = 32
	return traceDir + "/" + digest.Of([]byte(file + "\n" + step)).Hex()[:enough] + ".json"
}

// traces reports whether the step is to be traced. Only processes can be: what a
// container and a machine look for is asked of a kernel, or of processes, that are
// not within reach.
func (w *walk) traces() bool { return w.run.Trace && w.step.Isolation == pipeline.Process }

// keepTrace writes down what was seen of the step, which may have failed.
func (w *walk) keepTrace(failed bool) {
	if w.observed == nil || !w.traces() {
		return
	}
	if err := w.writeTrace(failed); err != nil {
		w.warn("what was seen of the step is not kept: " + err.Error())
	}
}

func (w *walk) writeTrace(failed bool) error {
	t := Trace{
		Schema: traceSchema, Pipeline: w.run.PipelineFile, Step: w.step.Name, Failed: failed,
		Opened: w.plain(w.observed.Opened), Looked: w.plain(w.observed.Looked), Unseen: w.unseen,
		Missing: w.plain(w.facts.Missing), Unexpected: w.plain(w.observed.Wrote), Modified: w.plain(w.facts.Modified),
	}
	needed := w.neededFiles()
	t.Needed, t.Opened = split(t.Opened, needed)
	_, t.Looked = split(t.Looked, needed)
	for _, e := range w.result.Outputs.Entries() {
		t.Outputs = append(t.Outputs, e.Path)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(t); err != nil {
		return err
	}
	if err := w.run.root.Mkdir(traceDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := traceName(t.Pipeline, t.Step)
	half := path.Join(path.Dir(name), "."+path.Base(name))
	if err := w.run.root.WriteFile(half, b.Bytes(), 0o644); err != nil {
		return err
	}
	return w.run.root.Rename(half, name)
}

// plain returns the paths that say what they are, and no secret.
func (w *walk) plain(paths []string) []string {
	var all []string
	for _, p := range paths {
		if w.clean(p) == p && strings.ToValidUTF8(p, "") == p {
			all = append(all, p)
		}
	}
	return all
}

// neededFiles are those that the steps left which this one needs.
func (w *walk) neededFiles() map[string]bool {
	all := map[string]bool{}
	for _, n := range w.step.Needs {
		for _, e := range w.run.landed(n).tree.Entries() {
			all[e.Path] = true
		}
	}
	return all
}

// split returns the paths that are in the set, and those that are not.
func split(paths []string, set map[string]bool) (in, out []string) {
	for _, p := range paths {
		if set[p] {
			in = append(in, p)
		} else {
			out = append(out, p)
		}
	}
	return in, out
}
