// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// goProject vets, tests and builds every package of a module.
func goProject(project fs.FS, folder string) draft {
	name := folder
	if m := regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)`).FindSubmatch(read(project, "go.mod")); m != nil {
		name = path.Base(string(m[1]))
	}
	image := "golang:1"
	if m := regexp.MustCompile(`(?m)^go\s+(\d+\.\d+)`).FindSubmatch(read(project, "go.mod")); m != nil {
		image = "golang:" + string(m[1])
	}
	build := step{name: "build", run: "go build ./...", needs: []string{"vet", "test"}}
	if hasProgram(project) {
		build.run, build.outputs = "go build -trimpath -o bin/ ./...", []string{"bin/"}
	}
	return draft{
		name: projectName(name, folder), image: image,
		steps: []step{{name: "vet", run: "go vet ./..."}, {name: "test", run: "go test ./..."}, build},
	}
}

// hasProgram reports whether a package of the module is a program that this
// machine's `go build ./...` would build.
func hasProgram(project fs.FS) bool {
	found := false
	_ = fs.WalkDir(project, ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read is no program of ours
		case found:
			return fs.SkipAll
		case e.IsDir() && p != "." && skipsGo(project, p, e.Name()):
			return fs.SkipDir
		case e.IsDir(), path.Ext(p) != ".go", strings.HasSuffix(p, "_test.go"):
			return nil
		}
		found = isProgram(read(project, p))
		return nil
	})
	return found
}

// skipsGo reports whether ./... leaves out a folder.
func skipsGo(project fs.FS, p, name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" ||
		name == "vendor" || name == "node_modules" || isFile(project, path.Join(p, "go.mod"))
}

// isProgram reports whether a Go file is of package main and not held back by
// a build constraint, which only a build could judge.
func isProgram(src []byte) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", src, parser.PackageClauseOnly)
	if err != nil || f.Name.Name != "main" {
		return false
	}
	before := src[:f.Package-1]
	return !bytes.Contains(before, []byte("//go:build")) && !bytes.Contains(before, []byte("// +build"))
}
