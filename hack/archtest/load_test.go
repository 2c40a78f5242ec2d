// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/attest-pipeline/attest"

// pkg is one package, as go list tells it.
type pkg struct {
	ImportPath   string
	Name         string
	Dir          string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rel is the package's path in the module.
func (p *pkg) rel() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// program is every package of the module, and every one that those need.
type program struct {
	root string
	own  []*pkg
	all  map[string]*pkg
}

var load = sync.OnceValues(func() (*program, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	prog := &program{root: strings.TrimSpace(string(out)), all: map[string]*pkg{}}
	cmd := exec.Command("go", "list", "-e", "-deps", "-json="+
		"ImportPath,Name,Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = prog.root
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(stdout); ; {
		p := &pkg{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading go list: %w", err)
		}
		prog.all[p.ImportPath] = p
		if strings.HasPrefix(p.ImportPath, module+"/") {
			prog.own = append(prog.own, p)
		}
	}
	return prog, cmd.Wait()
})

func loaded(t *testing.T) *program {
	t.Helper()
	prog, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(prog.own) < 5 {
		t.Fatalf("only %d packages were found in %s", len(prog.own), prog.root)
	}
	return prog
}

// needs returns the import paths that a package needs, directly or not.
func (prog *program) needs(path string) map[string]bool {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(path string) {
		p := prog.all[path]
		if seen[path] || p == nil {
			return
		}
		seen[path] = true
		for _, imported := range p.Imports {
			visit(imported)
		}
	}
	visit(path)
	return seen
}

// file is one Go source file.
type file struct {
	pkg  *pkg
	path string // in the module
	test bool
	ast  *ast.File
	set  *token.FileSet
	text string
}

// pos names a place for an error.
func (f *file) pos(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, f.set.Position(n.Pos()).Line)
}

func goFiles(t *testing.T) []*file {
	t.Helper()
	prog := loaded(t)
	var files []*file
	for _, p := range prog.own {
		for _, name := range p.GoFiles {
			files = append(files, parse(t, prog, p, name, false))
		}
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			files = append(files, parse(t, prog, p, name, true))
		}
	}
	return files
}

func parse(t *testing.T, prog *program, p *pkg, name string, test bool) *file {
	t.Helper()
	path := filepath.Join(p.Dir, name)
	text := read(t, path)
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(prog.root, path)
	if err != nil {
		t.Fatal(err)
	}
	return &file{pkg: p, path: filepath.ToSlash(rel), test: test, ast: tree, set: set, text: text}
}
