// SPDX-License-Identifier: Apache-2.0

package declare_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/declare"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// FuzzEdit edits whatever is a pipeline. What comes back is one as well, that
// differs in what was added and in nothing else, or the file is for a person.
func FuzzEdit(f *testing.F) {
	for _, steps := range []string{
		"  a: {run: x}\n", "  a:\n    run: |\n      x\n\n     # c\n    outputs:\n    - o # c\n", "  - run: [x, 'y''}']\n    name: a\n",
		"  a: { run: \"x # }\", inputs: [ # one\n  a, 'b', ] , outputs: [] }\n", "  a:\n    inputs:\n    # c\n    - a\n    run: >-\n      x\n      y\n",
		"  a:\n    run: x\n    env: {A: \"ü\"}\n    inputs: [\n  a,\n  b ]\n  b: {run: y, needs: [a]}\n", "  ? a\n  : run: x\n",
		"  a:\n    run: |\n      x", "  a:\n    cache: true\n    run: |+\n      x\n\n\n", "  a:\n    cache: true\n    run: >\n      x\n  ", "  a: !!map {run: x}\n",
	} {
		f.Add([]byte("version: \"0.1\"\nname: x\nsteps:\n" + steps))
	}
	add := declare.Lists{Inputs: []string{"new/", "*.c"}, Outputs: []string{"zz/#[']']"}}
	f.Fuzz(func(t *testing.T, text []byte) {
		before, err := pipeline.Parse(&source.File{Name: "f", Data: text})
		if err != nil {
			return
		}
		name := before.Steps[len(before.Steps)-1].Name
		edited, err := declare.Edit(bytes.Clone(text), name, add)
		if errors.Is(err, declare.ErrShape) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		after, err := pipeline.Parse(&source.File{Name: "f", Data: edited})
		if err != nil {
			t.Fatalf("%v\n%s\nbecame\n%s", err, text, edited)
		}
		s := &after.Steps[len(after.Steps)-1]
		s.Inputs, s.Outputs = s.Inputs[:len(s.Inputs)-2], s.Outputs[:len(s.Outputs)-1]
		s.AllInputs = before.Steps[len(before.Steps)-1].AllInputs
		o := cmp.Options{cmpopts.IgnoreTypes(source.Pos{}, digest.Digest{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(pipeline.Pipeline{}, "File")}
		if diff := cmp.Diff(before, after, o); diff != "" {
			t.Errorf("%s\nbecame\n%s\n(-before +after):\n%s", text, edited, diff)
		}
	})
}
