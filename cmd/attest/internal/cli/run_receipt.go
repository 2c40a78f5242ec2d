// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/verify"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/record"
)

// copiable refuses a place for the receipt's copy that has no folder, before anything
// has run.
func (c *runCmd) copiable(env *Env) error {
	if c.Output == "" {
		return nil
	}
	dir := filepath.Dir(env.path(c.Output))
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &usageError{err: fmt.Errorf("--output %s: there is no folder %s", c.Output, dir), hints: []string{"make it first: mkdir -p " + dir}}
	}
	return nil
}

// finish writes the receipt and what goes with it, and verifies it if asked.
func (c *runCmd) finish(ctx context.Context, env *Env, w *work, rec *engine.Record) error {
	result, paths, err := writeReceipt(ctx, env, w, rec)
	if err != nil {
		return err
	}
	if !env.json {
		defer func() { _ = env.print("%s", result.Receipt) }() // last, whatever verification says
	}
	check := w.settings.Bool(config.Verify)
	if c.Output == "" && !check {
		return nil
	}
	data, err := readFile(paths.Receipt)
	if err != nil {
		return fmt.Errorf("reading the receipt: %w", err)
	}
	if c.Output != "" {
		if err := os.WriteFile(env.path(c.Output), data, 0o644); err != nil {
			return fmt.Errorf("copying the receipt: %w", err)
		}
	}
	if !check {
		return nil
	}
	o := verify.Options{Root: w.root, Pipeline: env.path(c.File), UnsafeSkipSignature: w.signer == nil}
	if w.signer != nil {
		o.Keys = []keys.Public{w.signer.Public()}
	}
	result.Verified, err = verifyReceipt(ctx, env.Stderr, data, o)
	if result.Verified != nil {
		result.Verified.Receipt = result.Receipt
	}
	return err
}

// writeReceipt writes the receipt and what goes with it. The result of the command
// is then that of the run.
func writeReceipt(ctx context.Context, env *Env, w *work, rec *engine.Record) (*runResult, record.Paths, error) {
	paths, err := record.Write(ctx, record.Options{
		Dir: filepath.Join(w.root, stateDir), Plan: w.plan, Record: rec, Signer: w.signer,
	})
	if err != nil {
		return nil, paths, err
	}
	result := describeRun(rec.Receipt)
	result.Receipt, result.Signed = env.short(paths.Receipt), w.signer != nil
	for _, s := range paths.Statements {
		result.Statements = append(result.Statements, env.short(s))
	}
	env.result = result
	if names := exposed(rec.Receipt); len(names) > 0 {
		env.note("warning: this system could not keep %s/keys out of reach of %s", stateDir, strings.Join(names, ", "))
	}
	return result, paths, nil
}
