// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// TestVectors reads every attest.yaml of testdata and compares what comes of
// it with the file "want" beside it. ATTEST_UPDATE=1 writes those files anew.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) == 0 || archive.Files[0].Name != "attest.yaml" {
				t.Fatal("the first file of a vector is attest.yaml")
			}
			p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: archive.Files[0].Data})
			if (p == nil) != (err != nil) {
				t.Fatalf("pipeline %v and error %v", p, err)
			}
			got := outcome(t, p, err)
			if os.Getenv("ATTEST_UPDATE") != "" {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 {
				t.Fatal("no file want: run with ATTEST_UPDATE=1")
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// outcome renders errors as a command line does, and a pipeline as lines.
func outcome(t *testing.T, p *pipeline.Pipeline, err error) string {
	t.Helper()
	var b strings.Builder
	for _, e := range source.All(err) {
		if !errors.Is(e, pipeline.ErrInvalid) {
			t.Errorf("%v does not match ErrInvalid", e)
		}
		fmt.Fprintf(&b, "%v\n", e)
		if c := e.Caret(); c != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(c, "\n", "\n    "))
		}
		for _, hint := range e.Hints {
			fmt.Fprintf(&b, "hint: %s\n", hint)
		}
	}
	if p != nil {
		describe(&b, p)
	}
	return b.String()
}

func describe(b *strings.Builder, p *pipeline.Pipeline) {
	fmt.Fprintf(b, "%s %q %q %+v %+v %s\n", p.Version, p.Name, p.Description, p.Attestation, p.Cache, p.Image)
	for _, s := range p.Steps {
		fmt.Fprintf(b, "%s %v\n", s.Name, s.Pos)
		fmt.Fprintf(b, "  run %q at %v, dir %s\n", s.Run, s.RunPos, s.WorkingDir)
		fmt.Fprintf(b, "  %s %q network %s cache %v timeout %v %+v\n", s.Isolation, s.Image, s.Network, s.Cache, s.Timeout, s.Attestation)
		describeLevel(b, s)
		if s.AllInputs {
			fmt.Fprintln(b, "  all inputs")
		}
		patterns(b, "in ", s.Inputs)
		patterns(b, "out", s.Outputs)
		for _, n := range s.Needs {
			fmt.Fprintf(b, "  needs %s at %v\n", n.Name, n.Pos)
		}
		for _, v := range s.Env {
			fmt.Fprintf(b, "  env %s=%q\n", v.Name, v.Value)
		}
		if len(s.PassEnv) > 0 {
			fmt.Fprintf(b, "  pass %q\n", s.PassEnv)
		}
	}
}

func describeLevel(b *strings.Builder, s pipeline.Step) {
	if len(s.NetworkAllow) > 0 {
		fmt.Fprintf(b, "  allow %q\n", s.NetworkAllow)
	}
	if s.Limits != (pipeline.Limits{}) {
		fmt.Fprintf(b, "  limits %+v at %v\n", s.Limits, s.LimitPos)
	}
	for _, x := range s.Secrets {
		fmt.Fprintf(b, "  secret %s at %v env=%q file=%q command=%q mount=%q\n", x.Name, x.Pos, x.Env, x.File, x.Command, x.Mount)
	}
	for _, c := range s.Caches {
		fmt.Fprintf(b, "  cache %s at %v path=%q\n", c.Name, c.Pos, c.Path)
	}
}

func patterns(b *strings.Builder, what string, list []pipeline.Pattern) {
	for _, pat := range list {
		fmt.Fprintf(b, "  %s %q exclude=%v optional=%v folder=%v glob=%v\n", what, pat.Text, pat.Exclude, pat.Optional, pat.Folder, pat.Glob)
	}
}

// TestSpec reads the table of SPEC.md and wants every key of the parser in it.
func TestSpec(t *testing.T) {
	text, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	for pointer, keys := range pipeline.Keys() {
		prefix := ""
		if i := strings.LastIndex(pointer, "/properties/"); i >= 0 {
			prefix = pointer[i+len("/properties/"):] + "."
		} else if def := strings.TrimPrefix(pointer, "/$defs/"); def != pointer && def != "step" {
			prefix = def + "."
		}
		for _, key := range keys {
			if !strings.Contains(string(text), "\n| `"+prefix+key+"` |") && prefix+key != "name" && prefix+key != "attestation" && prefix+key != "cache" {
				t.Errorf("SPEC.md has no row for %s%s", prefix, key)
			}
		}
	}
}
