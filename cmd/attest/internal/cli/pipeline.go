// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/attest-pipeline/attest/frontend/graph"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
)

type pipelineCmd struct {
	Show     pipelineShowCmd     `cmd:"" help:"Draw the steps and say what the time of a run hangs on."`
	Validate pipelineValidateCmd `cmd:"" help:"Report everything that is wrong with attest.yaml."`
	Lock     pipelineLockCmd     `cmd:"" help:"Write attest.lock: what images and fetches are now."`
	Schema   pipelineSchemaCmd   `cmd:"" help:"Print the JSON Schema of attest.yaml, for editors."`
}

type pipelineValidateCmd struct {
	pipelineFlag
	jsonFlag
}

// Help shows how.
func (pipelineValidateCmd) Help() string {
	return `Examples:

    attest pipeline validate
    attest pipeline validate -f ci/attest.yaml --json`
}

// Run reads the pipeline and plans it.
func (c *pipelineValidateCmd) Run(env *Env) error {
	p, err := c.load(env)
	if err != nil {
		return err
	}
	if _, err := plan.New(p); err != nil {
		return err
	}
	if env.json {
		env.result = struct {
			File  string `json:"file"`
			Name  string `json:"name"`
			Hash  string `json:"pipeline_hash"`
			Steps int    `json:"steps"`
		}{c.File, p.Name, p.Digest.String(), len(p.Steps)}
		return nil
	}
	return env.print("[OK] %s is valid: %s, %s", c.File, p.Name, count(len(p.Steps), "step"))
}

type pipelineSchemaCmd struct{}

// Help shows what for.
func (pipelineSchemaCmd) Help() string {
	return `Examples:

    attest pipeline schema > .attest.schema.json

and as the first line of attest.yaml, for editors with the YAML language server:

    # yaml-language-server: $schema=.attest.schema.json`
}

// Run prints the schema.
func (pipelineSchemaCmd) Run(env *Env) error {
	_, err := env.Stdout.Write(pipeline.Schema())
	return err
}

type pipelineShowCmd struct {
	Steps  []string `arg:"" optional:"" name:"step" help:"Only these steps and what they need."`
	Format string   `enum:"text,dot,mermaid,svg,json" default:"text" help:"One of ${enum}."`
	LLB    bool     `name:"llb" help:"Print what container steps tell BuildKit to do."`
	JSON   bool     `name:"json" help:"The same as --format json."`
	pipelineFlag
}

// Help shows how.
func (pipelineShowCmd) Help() string {
	return `The critical path is the chain of steps that a run cannot be shorter than: by the durations of earlier runs where there are receipts, else by the number of steps.

Examples:

    attest pipeline show
    attest pipeline show --format svg > pipeline.svg
    attest pipeline show --format dot | dot -Tpng > pipeline.png
    attest pipeline show --llb build`
}

// Run draws the plan.
func (c *pipelineShowCmd) Run(ctx context.Context, env *Env) error {
	if c.LLB && (c.JSON || c.Format != "text") {
		return &usageError{err: fmt.Errorf("--llb is text and goes with no other format")}
	}
	p, err := c.load(env)
	if err != nil {
		return err
	}
	planned, err := plan.New(p, c.Steps...)
	if err != nil {
		return err
	}
	if c.LLB {
		return printLLB(ctx, env, env.path(c.File), c.Steps)
	}
	draw := map[string]func(*plan.Plan, plan.Analysis) []byte{
		"text": graph.Text, "dot": graph.DOT, "mermaid": graph.Mermaid, "svg": graph.SVG, "json": graph.JSON,
	}
	if c.JSON {
		c.Format = "json"
	}
	env.json = false // what is drawn is the whole result; an error stays an error
	_, err = env.Stdout.Write(draw[c.Format](planned, planned.Analyse(durations(c.root(env), p))))
	return err
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
