// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestLicenceLine(t *testing.T) {
	for _, f := range goFiles(t) {
		if !strings.HasPrefix(f.text, "// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s does not begin with its licence", f.path)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range goFiles(t) {
		most := 400
		if f.test {
			most = 800
		}
		if n := strings.Count(f.text, "\n"); n > most {
			t.Errorf("%s has %d lines: split it, %d are the most", f.path, n, most)
		}
	}
}

// TestPackageComments wants one comment per package whose first sentence says
// what the package is for.
func TestPackageComments(t *testing.T) {
	comments := map[*pkg]string{}
	for _, f := range goFiles(t) {
		if f.test || f.ast.Doc == nil {
			continue
		}
		if comments[f.pkg] != "" {
			t.Errorf("%s: a second package comment", f.path)
		}
		comments[f.pkg] = f.ast.Doc.Text()
	}
	for _, p := range loaded(t).own {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path.Base(p.rel()) + " "
		}
		text, ok := strings.CutPrefix(comments[p], want)
		if !ok {
			t.Errorf("%s: the package comment must begin with %q", p.rel(), want)
			continue
		}
		first, _, _ := strings.Cut(text, ". ")
		if len(strings.Fields(first)) < 4 {
			t.Errorf("%s: the package comment's first sentence says too little", p.rel())
		}
	}
}

func TestExportsAreDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.pkg.Name == "main" {
			continue
		}
		for _, decl := range f.ast.Decls {
			for name, node := range undocumented(decl) {
				t.Errorf("%s: %s has no comment", f.pos(node), name)
			}
		}
	}
}

// undocumented yields the exported names of a declaration that no comment
// explains. A comment above a group of constants or variables explains them all.
func undocumented(decl ast.Decl) map[string]ast.Node {
	found := map[string]ast.Node{}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			found[d.Name.Name] = d
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
					found[s.Name.Name] = s
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						found[name.Name] = s
					}
				}
			}
		}
	}
	return found
}

func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// TestNoSurprises keeps out what makes a program hard to follow: work at import
// time, a program that ends somewhere below main, a context that outlives its
// call, a logger that nobody handed in.
func TestNoSurprises(t *testing.T) {
	mainFile := regexp.MustCompile(`^(cmd|hack)/[^/]+/main\.go$`)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.VAR {
				ast.Inspect(d, func(n ast.Node) bool {
					if _, later := n.(*ast.FuncLit); later {
						return false
					}
					if c, ok := n.(*ast.CallExpr); ok && isSelector(c.Fun, "regexp", "MustCompile", "MustCompilePOSIX") {
						t.Errorf("%s: a regular expression is compiled at every start: do it where it is needed", f.pos(n))
					}
					return true
				})
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: func init", f.pos(n))
				}
			case *ast.StructType:
				for _, field := range n.Fields.List {
					if isSelector(field.Type, "context", "Context") {
						t.Errorf("%s: a context in a struct", f.pos(field))
					}
				}
			case *ast.CallExpr:
				exits := isSelector(n.Fun, "os", "Exit") || isSelector(n.Fun, "log", "Fatal", "Fatalf", "Fatalln")
				if exits && !mainFile.MatchString(f.path) {
					t.Errorf("%s: only a main.go may end the program", f.pos(n))
				}
				if isSelector(n.Fun, "slog", "Default", "Debug", "Info", "Warn", "Error") {
					t.Errorf("%s: loggers are handed in", f.pos(n))
				}
			}
			return true
		})
	}
}

func isSelector(e ast.Expr, pkg string, names ...string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Name != pkg {
		return false
	}
	for _, name := range names {
		if sel.Sel.Name == name {
			return true
		}
	}
	return false
}

// TestErrorTexts: an error says what was being done, not that it did not work.
func TestErrorTexts(t *testing.T) {
	empty := regexp.MustCompile(`(?i)\b(failed|unable) to\b`)
	for _, f := range goFiles(t) {
		if f.test || strings.HasPrefix(f.path, "hack/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if ok && lit.Kind == token.STRING && empty.MatchString(lit.Value) {
				t.Errorf("%s: %s", f.pos(lit), lit.Value)
			}
			return true
		})
	}
}
