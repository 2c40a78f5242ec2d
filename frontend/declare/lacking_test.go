// SPDX-License-Identifier: Apache-2.0

package declare_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/declare"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

func TestLacking(t *testing.T) {
	var many []string
	for i := range 11 {
		many = append(many, fmt.Sprintf("no/%d.js", i))
	}
	for _, test := range []struct {
		name  string
		step  string // keys besides run
		seen  declare.Seen
		want  declare.Lists
		notes int
	}{
		{name: "nothing", step: "inputs: []"},
		{name: "declared", step: "inputs: [src/, '!src/b'], outputs: [out/]", seen: declare.Seen{Used: []string{"src/a"}, Missing: []string{"src/x"}, Wrote: []string{"out/"}}},
		{name: "left out and used", step: "inputs: [src/, '!src/b']", seen: declare.Seen{Used: []string{"src/b"}}, want: declare.Lists{Inputs: []string{"src/b"}}},
		{name: "the whole project", seen: declare.Seen{Used: []string{"src/a", "src/b", "top"}}, want: declare.Lists{Inputs: []string{"src/", "top"}}},
		{name: "the whole project and nothing", notes: 1},
		{name: "ignored", seen: declare.Seen{Used: []string{"deps/a", "deps/b/c"}}, want: declare.Lists{Inputs: []string{"deps/"}}},
		{name: "of another step", step: "inputs: []", seen: declare.Seen{Used: []string{"made/x", "made/y"}, Missing: []string{"made/z"}}, want: declare.Lists{Needs: []string{"other"}}},
		{name: "of a step that it needs", step: "inputs: [], needs: [other]", seen: declare.Seen{Used: []string{"made/x"}}},
		{name: "its own", step: "inputs: [], outputs: [out]", seen: declare.Seen{Used: []string{"out"}, Missing: []string{"out"}}},
		{name: "below a new input", step: "inputs: []", seen: declare.Seen{Used: []string{"src/a", "src/b"}, Missing: []string{"src/x", "x"}}, want: declare.Lists{Inputs: []string{"src/", "x?"}}},
		{name: "much that is missing", step: "inputs: []", seen: declare.Seen{Missing: many}, notes: 1},
		{name: "names that cannot be", step: "inputs: []", seen: declare.Seen{Used: []string{"a\nb", `a\b`}}, notes: 2},
		{name: "many outputs", step: "inputs: []", seen: declare.Seen{Wrote: []string{"1.o", "2.o", "3.o", "a/1.o", "new/", "x/__pycache__/"}}, want: declare.Lists{Outputs: []string{"*.o", "a/1.o", "new/", "x/__pycache__/?"}}},
		{name: "outputs like a source", step: "inputs: []", seen: declare.Seen{Wrote: []string{"src/1.c", "src/2.c", "src/3.c"}}, want: declare.Lists{Outputs: []string{"src/1.c", "src/2.c", "src/3.c"}}},
		{name: "failed for want of files", step: "inputs: [top]", seen: declare.Seen{Failed: true, Used: []string{"top"}, Missing: []string{"deps/b", "nowhere", "src/a", "src/b"}},
			want: declare.Lists{Inputs: []string{"src/", "deps/b/"}}, notes: 1},
		{name: "failed for want of another step", step: "inputs: []", seen: declare.Seen{Failed: true, Missing: []string{"made/x", "made/y"}}, want: declare.Lists{Needs: []string{"other"}}},
		{name: "failed without a step that it needs", step: "inputs: [], needs: [other]", seen: declare.Seen{Failed: true, Missing: []string{"made/z"}}, notes: 1},
		{name: "failed without what comes after it", step: "inputs: [], outputs: [own]", seen: declare.Seen{Failed: true, Missing: []string{"late", "own"}}, notes: 2},
		{name: "failed with the whole project", seen: declare.Seen{Failed: true, Used: []string{"src/a"}, Missing: []string{"made/x"}}, want: declare.Lists{Needs: []string{"other"}}, notes: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"src/a": "", "src/b": "", "top": "", "deps/a": "", "deps/b/c": "", ".gitignore": "deps\n", "made/x": "", "src/old.c": "",
			} {
				if name == "src/old.c" && test.name != "outputs like a source" {
					continue
				}
				at := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			keys := ""
			if test.step != "" {
				keys = ", " + test.step
			}
			text := "version: \"0.1\"\nname: x\nsteps:\n  other: {run: x, outputs: [made/]}\n  a: {run: x" + keys + "}\n  after: {run: x, needs: [a], inputs: [], outputs: [late]}\n"
			p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			got, notes, err := declare.Lacking(t.Context(), p, root, "a", test.seen)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || len(notes) != test.notes {
				t.Errorf("notes %q, lacking (-want +got):\n%s", notes, diff)
			}
		})
	}
}
