// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/llb/compile"
	"github.com/attest-pipeline/attest/llb/dump"
)

var platform = ocispecs.Platform{OS: "linux", Architecture: "amd64"}

// TestGolden compiles every step of an attest.yaml and compares it with the
// dump beside it. ATTEST_UPDATE=1 writes the dumps anew.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := compileAll(t, archive.Files[0].Data)
			if os.Getenv("ATTEST_UPDATE") != "" {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "want.llb", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 || archive.Files[1].Name != "want.llb" {
				t.Fatal("no want.llb; run with ATTEST_UPDATE=1")
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Fatalf("definition (-want +got):\n%s", diff)
			}
		})
	}
}

func compileAll(t *testing.T, yaml []byte) string {
	t.Helper()
	planned := planOf(t, yaml)
	var text strings.Builder
	for i, s := range planned.Steps {
		def, err := compile.New(planned, s, image(s)).Definition(t.Context(), "hint", platform)
		if err != nil {
			t.Fatal(err)
		}
		dumped, err := dump.Text(def)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString("# " + s.Name + "\n" + dumped)
	}
	return text.String()
}

func planOf(t *testing.T, yaml []byte) *plan.Plan {
	t.Helper()
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: yaml})
	if err != nil {
		t.Fatal(err)
	}
	planned, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return planned
}

// image is what resolving would say of a step's image.
func image(s plan.Step) compile.Image {
	if strings.HasPrefix(s.Image, "oci-layout://") {
		return compile.Image{
			Ref:   "attest/layout@sha256:" + strings.Repeat("ab", 32),
			Store: "layout", Env: []string{"PATH=/opt/bin:/bin", "HOME=/home/image", "FROM_IMAGE=1"},
		}
	}
	return compile.Image{Ref: s.Image}
}

// TestDeterminism: one plan is one graph, however often it is compiled, so that
// nothing in it hangs on the order of a map, a random number or the clock.
func TestDeterminism(t *testing.T) {
	planned := planOf(t, []byte(`
version: "0.1"
name: many-variables
env: {A: 1, B: 2, C: 3, D: 4, E: 5, F: 6, G: 7, H: 8, I: 9, J: 10, K: 11, L: 12}
steps:
  build:
    run: make
    image: debian:13
    working_dir: sub
    outputs: ["b", "a", "*.log", "c/"]
`))
	build := func() [][]byte {
		step := compile.New(planned, planned.Steps[0], compile.Image{
			Ref: planned.Steps[0].Image, Env: []string{"Z=1", "Y=2", "X=3", "PATH=/bin"},
		})
		step.Run = "one"
		def, err := step.Definition(t.Context(), "hint", platform)
		if err != nil {
			t.Fatal(err)
		}
		return def.Def
	}
	want := build()
	for range 25 {
		if !reflect.DeepEqual(build(), want) {
			t.Fatal("one plan compiled to two different graphs")
		}
	}
}

// TestRun: executions with names of their own have no operation in common that
// BuildKit could execute once for both. Images are not executed, and what the
// folders of a step begin with is the image's.
func TestRun(t *testing.T) {
	operations := func(run string) map[string]bool {
		step := compile.Step{
			Name: "s", Command: pipeline.Command{Shell: "true"}, Image: compile.Image{Ref: "debian:13"}, Run: run,
		}
		def, err := step.Definition(t.Context(), "hint", platform)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{}
		for _, op := range def.Def {
			all[string(op)] = !slices.ContainsFunc([]string{"docker-image://", "/empty", "/roo[t]"},
				func(s string) bool { return strings.Contains(string(op), s) })
		}
		return all
	}
	second := operations("two")
	for op, matters := range operations("one") {
		if matters && second[op] {
			t.Errorf("both executions hold %q", op)
		}
	}
}

// TestPlaces: where a step stands, and how it is called, does not change what
// it is.
func TestPlaces(t *testing.T) {
	step := compile.Step{Name: "s", Command: pipeline.Command{Shell: "true"}, Image: compile.Image{Ref: "debian:13"}}
	definition := func(s compile.Step) *llb.Definition {
		def, err := s.Definition(t.Context(), "hint", platform)
		if err != nil {
			t.Fatal(err)
		}
		return def
	}
	without := definition(step)
	step.Name = "renamed"
	step.File = &source.File{Name: "attest.yaml", Data: []byte("a\nb\n")}
	step.Pos = source.Pos{File: "attest.yaml", Line: 2, Column: 1}
	with := definition(step)
	step.File = nil
	if !reflect.DeepEqual(without.Def, definition(step).Def) {
		t.Error("a place in no file changed its definition")
	}
	if !reflect.DeepEqual(without.Def, with.Def) {
		t.Error("the name or the place of a step changed its definition")
	}
	if with.Source == nil || len(with.Source.Infos) == 0 {
		t.Error("the place of the step is not attached")
	}
}

// TestCompose: a workspace may be made of other steps' outputs, as a graph of
// all steps has it.
func TestCompose(t *testing.T) {
	img := compile.Image{Ref: "debian:13"}
	first := compile.Step{Name: "first", Command: pipeline.Command{Shell: "echo > a"}, Image: img,
		Outputs: []pipeline.Pattern{{Text: "a"}}}
	second := compile.Step{Name: "second", Command: pipeline.Command{Shell: "cat a"}, Image: img}
	made, err := first.Exec(first.Compose(first.Inputs("")))
	if err != nil {
		t.Fatal(err)
	}
	last, err := second.Exec(second.Compose(second.Inputs(""), made))
	if err != nil {
		t.Fatal(err)
	}
	def, err := compile.Marshal(t.Context(), last, platform)
	if err != nil {
		t.Fatal(err)
	}
	text, err := dump.Text(def)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, " exec\n"); n != 2 {
		t.Errorf("%d commands in a graph of two steps:\n%s", n, text)
	}
}

func TestRefused(t *testing.T) {
	good := compile.Step{Name: "s", Command: pipeline.Command{Shell: "true"}, Image: compile.Image{Ref: "debian:13"}}
	for name, change := range map[string]func(s *compile.Step){
		"no command":               func(s *compile.Step) { s.Command = pipeline.Command{} },
		"no image":                 func(s *compile.Step) { s.Image.Ref = "" },
		"image in capitals":        func(s *compile.Step) { s.Image.Ref = "Debian" },
		"layout without a digest":  func(s *compile.Step) { s.Image.Store = "layout" },
		"a word that is no text":   func(s *compile.Step) { s.Command = pipeline.Command{Argv: []string{"\xff"}} },
		"a script that is no text": func(s *compile.Step) { s.Command.Shell = "echo \xff" },
		"a name that is no text":   func(s *compile.Step) { s.Env = []pipeline.Var{{Name: "A\xff", Value: "s3cret"}} },
		"a value that is no text":  func(s *compile.Step) { s.Env = []pipeline.Var{{Name: "A", Value: "s3cret\xff"}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			change(&s)
			_, err := s.Definition(t.Context(), "", platform)
			if err == nil {
				t.Fatal("it compiled")
			}
			if !strings.Contains(err.Error(), `step "s"`) {
				t.Errorf("the error does not name the step: %v", err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

// TestRecordedIsRequired: a BuildKit that does not know recorded networks must
// not run the step with an open one. What the operations are is not changed.
func TestRecordedIsRequired(t *testing.T) {
	definition := func(network pipeline.Network) *llb.Definition {
		s := compile.Step{
			Name: "s", Command: pipeline.Command{Shell: "true"}, Image: compile.Image{Ref: "debian:13"}, Network: network,
		}
		def, err := s.Definition(t.Context(), "", platform)
		if err != nil {
			t.Fatal(err)
		}
		return def
	}
	open, recorded := definition(pipeline.NetworkOpen), definition(pipeline.NetworkRecorded)
	if !reflect.DeepEqual(open.Def, recorded.Def) {
		t.Error("the operations differ")
	}
	for id, about := range recorded.Metadata {
		if !about.Caps[compile.CapRecorded] || open.Metadata[id].Caps[compile.CapRecorded] {
			t.Errorf("operation %s asks for %v, with an open network for %v", id, about.Caps, open.Metadata[id].Caps)
		}
	}
}

// TestUnfiltered: a step that ends with its workspace is told apart by that alone,
// and its filter is what the copy of the others has.
func TestUnfiltered(t *testing.T) {
	s := compile.Step{
		Name: "s", Command: pipeline.Command{Shell: "x"}, Image: compile.Image{Ref: "busybox"}, Report: "report",
		Outputs: []pipeline.Pattern{{Text: "out/*.txt", Glob: true}, {Text: "no such", Exclude: true}},
	}
	copied, err := s.Definition(t.Context(), "", platform)
	if err != nil {
		t.Fatal(err)
	}
	s.Unfiltered = true
	whole, err := s.Definition(t.Context(), "", platform)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Def) != len(copied.Def)-1 {
		t.Errorf("%d operations, with a copy %d", len(whole.Def), len(copied.Def))
	}
	include, exclude := s.OutputFilter()
	if want := []string{"out/*.txt", "report"}; !slices.Equal(include, want) || len(exclude) > 0 {
		t.Errorf("filter %q less %q, want %q", include, exclude, want)
	}
	s.Outputs, s.Report = nil, ""
	if include, exclude = s.OutputFilter(); len(include) > 0 || len(exclude) == 0 {
		t.Errorf("without outputs: %q less %q", include, exclude)
	}
}
