// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/llb/compile"
	"github.com/attest-pipeline/attest/llb/dump"
)

// printLLB writes the definition of every container step among the named ones
// and what they need.
func printLLB(ctx context.Context, w io.Writer, file string, steps []string) error {
	p, err := pipeline.Load(file, file)
	if err != nil {
		return err
	}
	planned, err := plan.New(p, steps...)
	if err != nil {
		return err
	}
	for _, s := range planned.Steps {
		text := fmt.Sprintf("# %s: a %s step, which needs no BuildKit\n", s.Name, s.Isolation)
		if s.Isolation == pipeline.Container {
			definition, err := define(ctx, filepath.Dir(file), planned, s)
			if err != nil {
				return err
			}
			text = fmt.Sprintf("# %s\n%s", s.Name, definition)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// define compiles one step, as text. An image of a registry stays the name that
// it is, since nothing is asked of anybody; one on disk is looked up.
func define(ctx context.Context, root string, planned *plan.Plan, s plan.Step) (string, error) {
	img := compile.Image{Ref: s.Image}
	if strings.HasPrefix(s.Image, "oci-layout://") {
		found, err := image.Resolve(ctx, s.Image, root, image.Local())
		if err != nil {
			return "", err
		}
		img = compile.Image{Ref: "attest/layout@" + found.Manifest.String(), Store: "layout", Env: found.Env}
	}
	definition, err := compile.New(planned, s, img).Definition(ctx, compile.InputsName, image.Local())
	if err != nil {
		return "", err
	}
	return dump.Text(definition)
}
