// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/verify"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

type reproduceCmd struct {
	Receipt string  `arg:"" help:"The receipt's file."`
	Engine  *string `placeholder:"ADDR" help:"The BuildKit for container steps (default: the embedded one)."`
	jsonFlag
}

// Help says what is compared.
func (reproduceCmd) Help() string {
	return `Runs the steps of a receipt again, without the cache, in the working folder, the project, and wants every output to be the one that the receipt names, bit for bit. It needs the files that the receipt was made with: the pipeline and the inputs are checked first. Images are taken by the digests that the receipt has; a receipt of a deterministic run is reproduced deterministically.

Outputs are put in place only where they are those of the receipt. Whether the receipt is to be believed is another question: attest verify answers it.

The exit code is 0 when all of it was reproduced and 4 when something differs.

Examples:

    attest reproduce .attest/receipts/receipt_20261201_143052.yaml
    git clone URL && cd project && attest reproduce ../release-receipt.yaml`
}

// reproduceResult is what came of it, for --json.
type reproduceResult struct {
	Receipt    string       `json:"receipt"`
	Reproduced bool         `json:"reproduced"`
	Steps      []stepResult `json:"steps,omitempty"`
}

// Run does the work again.
func (c *reproduceCmd) Run(ctx context.Context, env *Env) error {
	data, err := readFile(env.path(c.Receipt))
	if err != nil {
		return fmt.Errorf("reading receipt: %w", err)
	}
	r, err := receipt.Parse(data)
	if err != nil {
		return errors.Join(fmt.Errorf("reading receipt: %w", err), &unverifiedError{1})
	}
	result := &reproduceResult{Receipt: c.Receipt}
	env.result = result
	if err := checkMaterials(ctx, env, r); err != nil {
		return err
	}
	planned, err := planOf(env, r)
	if err != nil {
		return err
	}
	record, err := c.again(ctx, env, r, planned)
	if record != nil {
		result.Steps = describeRun(record.Receipt).Steps
	}
	if err != nil {
		return err
	}
	result.Reproduced = true
	if env.json {
		return nil
	}
	for _, s := range record.Receipt.Steps {
		if err := env.print("[OK] %s: %s, the same as in the receipt", display.Message(s.Name), count(len(s.Outputs), "output")); err != nil {
			return err
		}
	}
	return nil
}

// checkMaterials wants the pipeline and the inputs that no step makes to be
// those of the receipt, and the receipt to be one of a run that succeeded.
func checkMaterials(ctx context.Context, env *Env, r *receipt.Receipt) error {
	materials := *r
	materials.Signature, materials.SignerPublicKey = "", ""
	materials.Steps = make([]receipt.Step, len(r.Steps))
	for i, s := range r.Steps {
		s.Inputs, s.Outputs = sources(r, s.Inputs), nil
		materials.Steps[i] = s
	}
	data, err := receipt.Marshal(&materials)
	if err != nil {
		return err
	}
	var said strings.Builder
	_, err = verifyReceipt(ctx, &said, data, verify.Options{Root: env.Dir, UnsafeSkipSignature: true})
	if err != nil {
		for line := range strings.Lines(said.String()) {
			if !strings.HasPrefix(line, "[OK]") && !strings.HasPrefix(line, "Signature") {
				_, _ = io.WriteString(env.Stderr, line)
			}
		}
		return &executor.HintedError{
			Err:   fmt.Errorf("the project is not the one of the receipt: %w", err),
			Hints: []string{"check out the commit that the receipt names, or look with attest verify what differs"},
		}
	}
	return nil
}

// sources returns the inputs that have nothing to do with any step's outputs.
func sources(r *receipt.Receipt, inputs []receipt.Path) []receipt.Path {
	var kept []receipt.Path
	for _, in := range inputs {
		made := false
		for _, s := range r.Steps {
			for _, out := range s.Outputs {
				made = made || in.Path == out.Path || inFolder(in.Path, out.Path) || inFolder(out.Path, in.Path)
			}
		}
		if !made {
			kept = append(kept, in)
		}
	}
	return kept
}

// inFolder reports whether p is below a path that ends with a slash.
func inFolder(p, folder string) bool {
	return strings.HasSuffix(folder, "/") && strings.HasPrefix(p, folder)
}

// planOf plans the steps of the receipt, at the levels and with the images that
// it names.
func planOf(env *Env, r *receipt.Receipt) (*plan.Plan, error) {
	p, err := pipeline.Load(filepath.Join(env.Dir, filepath.FromSlash(r.Pipeline.File)), r.Pipeline.File)
	if err != nil {
		return nil, err
	}
	moved := *p
	moved.Steps = make([]pipeline.Step, len(p.Steps))
	copy(moved.Steps, p.Steps)
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Name)
		for i := range moved.Steps {
			if moved.Steps[i].Name == s.Name {
				asIn(&moved.Steps[i], s)
			}
		}
	}
	return plan.New(&moved, names...)
}

// asIn gives a step of the pipeline what the receipt knows better: where it was
// run, and the image that a name stood for.
func asIn(step *pipeline.Step, s receipt.Step) {
	step.Isolation, step.Network = pipeline.Isolation(s.Isolation), pipeline.Network(s.Network)
	step.Attestation.Reproducible = false // what is done here is the second run
	switch {
	case s.Image == "":
		step.Image = ""
	case !strings.HasPrefix(s.Image, "oci-layout://"): // such a folder has its digest in itself
		step.Image = s.Image
	}
}

func (c *reproduceCmd) again(ctx context.Context, env *Env, r *receipt.Receipt, planned *plan.Plan) (*engine.Record, error) {
	settings, err := config.Load(env.Dir, env.Getenv)
	if err != nil {
		return nil, err
	}
	if err := settings.Flag(config.Engine, c.Engine); err != nil {
		return nil, &usageError{err: err}
	}
	if err := engine.MakeStateDir(env.Dir); err != nil {
		return nil, err
	}
	levels, err := newLevels(env, settings, env.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { levels.end()() }()
	screen := display.New(ctx, display.Options{
		Mode: display.Mode(settings.Get(config.Progress).Value), Out: env.Stderr, Getenv: env.Getenv, Environ: env.Environ, Now: env.Now,
	})
	defer screen.Close()
	recorded := map[string]receipt.Step{}
	for _, s := range r.Steps {
		recorded[s.Name] = s
	}
	fixed, err := fixedIn(r)
	if err != nil {
		return nil, err
	}
	return engine.Run(ctx, engine.Options{
		Plan: planned, Root: env.Dir, PipelineFile: r.Pipeline.File, Executors: levels.executors(), Images: levels.images.Pin,
		Jobs: settings.Jobs(), Environ: env.Environ, Sink: screen, Now: env.Now, Version: r.Version,
		CacheDir: levels.cacheDir, NoCache: true, Recorded: recorded, Deterministic: fixed,
	})
}

var errNoEpoch = errors.New("the receipt is of a deterministic run and does not say at which time")

// fixedIn returns what the run of the receipt fixed, nil for nothing.
func fixedIn(r *receipt.Receipt) (*executor.Determinism, error) {
	for _, s := range r.Steps {
		for _, control := range s.Controls {
			if control != engine.ControlEnvironment {
				continue
			}
			seconds, err := strconv.ParseInt(s.Env["SOURCE_DATE_EPOCH"], 10, 64)
			if err != nil {
				return nil, errNoEpoch
			}
			return engine.Deterministic(time.Unix(seconds, 0)), nil
		}
	}
	return nil, nil
}
