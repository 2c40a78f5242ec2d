// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// FuzzParse wants no panic, a pipeline or an error and never both, and places
// that are in the file.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: data})
		if (p == nil) != (err != nil) {
			t.Fatalf("pipeline %v and error %v", p, err)
		}
		if err != nil {
			checkErrors(t, err)
			return
		}
		if len(p.Steps) == 0 || p.Name == "" {
			t.Fatal("a pipeline without a name or steps")
		}
		for _, s := range p.Steps {
			if s.Name == "" || s.Pos.IsZero() || s.RunPos.IsZero() || s.Run.String() == "" || s.Isolation == "" || s.Network == "" || s.WorkingDir == "" {
				t.Fatalf("an incomplete step: %+v", s)
			}
			for _, pat := range append(s.Inputs, s.Outputs...) {
				if globs, err := pat.Globs(); err != nil || len(globs) == 0 {
					t.Fatalf("pattern %q: %v", pat, err)
				}
			}
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	all := source.All(err)
	if len(all) == 0 || !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatalf("an error without a place: %v", err)
	}
	for i, e := range all {
		if i > 0 && !e.Pos.IsZero() && e.Pos.Line < all[i-1].Pos.Line {
			t.Fatalf("%v stands behind %v", e, all[i-1])
		}
		if e.Pos.Line < 0 || e.Pos.Column < 0 || e.Msg == "" {
			t.Fatalf("%+v", e)
		}
		_ = e.Caret()
	}
}
