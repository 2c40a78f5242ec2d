// SPDX-License-Identifier: Apache-2.0

package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/cmd/attest/internal/scaffold"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

func files(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(names); i += 2 {
		m[names[i]] = &fstest.MapFile{Data: []byte(names[i+1])}
	}
	return m
}

// projects are what the templates are tried on, by the name of a golden file.
var projects = []struct {
	name, template string
	files          fstest.MapFS
}{
	{"go-program", "go", files("go.mod", "module example.com/tool\n\ngo 1.26\n", "main.go", "package main\n", "Makefile", "all:\n")},
	{"go-library", "go", files("go.mod", "module example.com/lib\n", "lib.go", "package lib\n", "testdata/main.go", "package main\n",
		"gen.go", "//go:build ignore\n\npackage main\n", "_old/main.go", "package main\n", "tools/go.mod", "module tools\n", "tools/main.go", "package main\n")},
	{"rust-program", "rust", files("Cargo.toml", "[package]\nname = \"crab\"\nversion = \"0.1.0\"\n[dependencies]\nname = \"no\"\n", "src/main.rs", "fn main() {}\n")},
	{"rust-workspace", "rust", files("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n")},
	{"node-scripts", "node", files("package-lock.json", "{}", "package.json",
		`{"name": "@us/web", "scripts": {"lint": "eslint .", "test": "vitest run", "build": "vite build", "start": "x"}, "devDependencies": {"vite": "*"}}`)},
	{"node-bare", "node", files("index.js", "1", "package.json", `{"name": "bare", "scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}`)},
	{"node-broken", "node", files("package.json", `{"name": `)},
	{"node-yarn", "node", files("yarn.lock", "", "package.json", `{"scripts": {"build": "tsc -p ."}, "main": "./lib/index.js", "dependencies": {"a": "1"}}`)},
	{"node-out", "node", files("package.json", `{"scripts": {"build": "esbuild --outdir=public/ a.js"}}`)},
	{"python-unittest", "python", files("pyproject.toml", "[project]\nname = \"snake\"\n", "snake/__init__.py", "", "tests/test_a.py", "")},
	{"python-pytest", "python", files("requirements.txt", "pytest\n", "app.py", "", "test_app.py", "")},
	{"python-bare", "python", files("requirements.txt", "requests\n", "a b.py", "", "-x.py", "")},
	{"make-all", "make", files("Makefile", "CC ?= cc\n.PHONY: all test\nall: prog lib.a\nprog: prog.c ; cc -o $@ prog.c\nlib.a:\n\tar\ntest: all\n\t./prog\n", "prog.c", "")},
	{"make-default", "make", files("GNUmakefile", "prog: a.c\n\tcc a.c\ncheck:\n\ttrue\nlint:\n\ttrue\nX := 1\nY = a:b\n")},
	{"c-program", "c", files("a.c", "int helper;\n", "b.c", "#include <stdio.h>\nint main(void) { return 0; }\n")},
	{"c-library", "c", files("a.c", "int f(void) { return 0; }\n")},
	{"hello", "hello", files("README", "")},
}

func TestDetectedPipelines(t *testing.T) {
	for _, p := range projects {
		t.Run(p.name, func(t *testing.T) {
			template := scaffold.Detect(p.files)
			if template.Name != p.template {
				t.Fatalf("detected as %s, want %s", template.Name, p.template)
			}
			got := template.Pipeline(p.files, "the folder")
			for _, line := range template.Ignored(p.files, "the folder") {
				got = append(got, "# ignored: "+line+"\n"...)
			}
			golden(t, filepath.Join("testdata", p.name+".golden"), got)
			parsed, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: got})
			if err != nil {
				t.Fatalf("the pipeline is not valid: %v", err)
			}
			if _, err := plan.New(parsed); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNamesCannotLeaveTheirPlace names things so that they would be YAML or
// shell if they were not quoted.
func TestNamesCannotLeaveTheirPlace(t *testing.T) {
	evil := "x\"\nsteps: {evil: {run: boom}}\n#'$(boom)`boom`"
	for name, project := range map[string]fstest.MapFS{
		"node":   files("package.json", `{"main": "`+"$(boom).js"+`"}`, "$(boom).js", ""),
		"python": files("setup.py", "", "$(boom).py", "", "tests/test_x.py", ""),
		"make":   files("Makefile", "all: a;boom\na;boom:\n\ttrue\n"),
		"hello":  files(),
	} {
		t.Run(name, func(t *testing.T) {
			text := scaffold.Detect(project).Pipeline(project, evil)
			parsed, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: text})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for _, s := range parsed.Steps {
				script := strings.NewReplacer("'$(boom).py'", "", "'$(boom).js'", "", parsed.Name, "").Replace(s.Run.Shell)
				if s.Name == "evil" || strings.Contains(script, "boom") {
					t.Errorf("step %s runs %q", s.Name, s.Run.Shell)
				}
			}
		})
	}
}

func TestFind(t *testing.T) {
	if _, err := scaffold.Find("cobol"); err == nil || !strings.Contains(err.Error(), "go, rust, node, python, make, c, hello") {
		t.Errorf("error is %v", err)
	}
	for _, template := range scaffold.Templates() {
		if found, err := scaffold.Find(template.Name); err != nil || found.Name != template.Name {
			t.Errorf("%s: found %q, %v", template.Name, found.Name, err)
		}
	}
}

// golden compares got with a file; ATTEST_UPDATE=1 writes the file instead.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if os.Getenv("ATTEST_UPDATE") == "1" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}
