// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/attest-pipeline/attest/frontend/plan"
)

// wouldRun is one step of a dry run.
type wouldRun struct {
	Name      string   `json:"name"`
	Isolation string   `json:"isolation"`
	Image     string   `json:"image,omitempty"`
	Network   string   `json:"network"`
	Command   string   `json:"command"`
	Needs     []string `json:"needs,omitempty"`
	// Inputs counts the files that the step would see; nil where that is only
	// known when the steps that it needs have run.
	Inputs  *int     `json:"inputs"`
	Outputs []string `json:"outputs,omitempty"`
}

// dryRun says what would run. Nothing is started, resolved or written.
func dryRun(ctx context.Context, env *Env, dir string, planned *plan.Plan) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the project: %w", err)
	}
	defer root.Close()
	var steps []wouldRun
	var errs []error
	for i, s := range planned.Steps {
		w := wouldRun{
			Name: s.Name, Isolation: string(s.Isolation), Image: s.Image, Network: string(s.Network),
			Command: s.Run.String(),
		}
		for _, n := range s.Needs {
			w.Needs = append(w.Needs, planned.Steps[n].Name)
		}
		for _, o := range s.Outputs {
			w.Outputs = append(w.Outputs, o.String())
		}
		inputs, err := planned.Inputs(ctx, root, i)
		switch n := len(inputs); {
		case err == nil:
			w.Inputs = &n
		case errors.Is(err, plan.ErrInput) && len(s.Needs) > 0:
			// The outputs of what it needs may not be there yet.
		default:
			errs = append(errs, err)
		}
		steps = append(steps, w)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if env.json {
		env.result = struct {
			Steps []wouldRun `json:"steps"`
		}{steps}
		return nil
	}
	for _, w := range steps {
		if err := env.print("%s", w.text()); err != nil {
			return err
		}
	}
	return nil
}

func (w wouldRun) text() string {
	where := w.Isolation
	if w.Image != "" {
		where += " " + w.Image
	}
	inputs := "inputs known when what it needs has run"
	if w.Inputs != nil {
		inputs = count(*w.Inputs, "input")
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(w.Command), "\n")
	if rest != "" {
		first += " ..."
	}
	line := fmt.Sprintf("%s (%s, %s)", w.Name, where, inputs)
	if len(w.Needs) > 0 {
		line += " after " + strings.Join(w.Needs, ", ")
	}
	line += "\n    run:     " + first
	if len(w.Outputs) > 0 {
		line += "\n    outputs: " + strings.Join(w.Outputs, ", ")
	}
	return line
}
