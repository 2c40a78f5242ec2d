// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

// project makes a folder: "a/b" is a file, "a/" an empty folder, "a -> b" a
// symbolic link, "a: text" a file with that in it, "a|" a FIFO.
func project(t testing.TB, items ...string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for _, item := range items {
		name, target, isLink := strings.Cut(item, " -> ")
		name, text, _ := strings.Cut(name, ": ")
		name, isFIFO := strings.CutSuffix(name, "|")
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o777)
		switch {
		case isLink:
			err = errors.Join(err, os.Symlink(target, at))
		case isFIFO:
			err = errors.Join(err, syscall.Mkfifo(at, 0o666))
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(at, 0o777))
		default:
			err = errors.Join(err, os.WriteFile(at, []byte(text), 0o666))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// show writes entries as project reads them.
func show(entries []tree.Entry) []string {
	names := []string{}
	for _, e := range entries {
		name := e.Path
		switch e.Kind {
		case tree.Dir:
			name += "/"
		case tree.Symlink:
			name += " ->"
		}
		names = append(names, name)
	}
	return names
}

func inputs(t *testing.T, root *os.Root, step string) []string {
	t.Helper()
	p := planned(t, "  step: {run: x, "+step+"}\n")
	entries, err := p.Inputs(t.Context(), root, 0)
	if err != nil {
		return render(err)
	}
	if !slices.IsSortedFunc(entries, func(a, b tree.Entry) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("not ordered")
	}
	if _, err := tree.New(slices.Clone(entries)); err != nil {
		t.Error("no tree:", err)
	}
	return show(entries)
}

func render(err error) []string {
	var lines []string
	for _, e := range source.All(err) {
		if !errors.Is(e, plan.ErrInput) || e.Pos.IsZero() || e.Snippet == "" {
			lines = append(lines, fmt.Sprintf("%#v", e))
		}
		lines = append(lines, "! "+e.Msg)
		for _, h := range e.Hints {
			lines = append(lines, "? "+h)
		}
	}
	if lines == nil {
		lines = []string{err.Error()}
	}
	return lines
}

func TestInputsPatterns(t *testing.T) {
	root := project(t, "go.mod", "main.go", "main_test.go", "src/a.go", "src/a_test.go", "src/deep/b.go", "src/.hidden/c.go",
		"src/data/x.txt", "src/data/empty/", "src/link -> data", "src/.git/HEAD", ".git/config", ".attest/keys/private.key",
		"doc/index.md", "doc/img/a.png", "gone -> nowhere", "odd [name]/file", "größe/ü", "node_modules/a/index.js", "pkg/node_modules/b.js",
		"out/own.go", ".gitignore: *\n", "!bang", "sp ace.go")
	for _, c := range []struct {
		inputs string
		want   string // entries between commas, or errors and hints between bars
	}{
		{`[]`, ``},
		{`[go.mod]`, `go.mod`},
		{`[src/]`, `src/.hidden/c.go, src/a.go, src/a_test.go, src/data/empty/, src/data/x.txt, src/deep/b.go, src/link ->`},
		{`[src]`, `src/.hidden/c.go, src/a.go, src/a_test.go, src/data/empty/, src/data/x.txt, src/deep/b.go, src/link ->`},
		{`["src/**"]`, `src/.hidden/c.go, src/a.go, src/a_test.go, src/data/empty/, src/data/x.txt, src/deep/b.go, src/link ->`},
		{`["**/*.go", "!**/*_test.go"]`, `main.go, sp ace.go, src/.hidden/c.go, src/a.go, src/deep/b.go`},
		{`["*.go"]`, `main.go, main_test.go, sp ace.go`},
		{`["src/*.go", go.mod]`, `go.mod, src/a.go, src/a_test.go`},
		{`["src/*/"]`, `src/.hidden/c.go, src/data/empty/, src/data/x.txt, src/deep/b.go`},
		{`["src/d*"]`, `src/data/empty/, src/data/x.txt, src/deep/b.go`},
		{`["src/**/*.{go,txt}", "!src/deep"]`, `src/.hidden/c.go, src/a.go, src/a_test.go, src/data/x.txt`},
		{`[src/, "!src/data/", src/data/x.txt]`, `src/.hidden/c.go, src/a.go, src/a_test.go, src/data/x.txt, src/deep/b.go, src/link ->`},
		{`[src/, "!src/**/*", src/deep]`, `src/deep/b.go`},
		{`[src/data/x.txt, "!src/data"]`, ``},
		{`[src/data/empty]`, `src/data/empty/`},
		{`[src/link]`, `src/link ->`},
		{`["src/l?nk", "g[no]*"]`, `go.mod, gone ->, src/link ->`},
		{`["[!a-m]*.go", "m???.go"]`, `main.go, sp ace.go`},
		{`["odd [[]name]/"]`, `odd [name]/file`},
		{`[größe/ü, "./!bang", "gr?ße/?"]`, `!bang, größe/ü`},
		{`["*", "!**/node_modules", "!src", "!doc", "!g*", "!odd*"]`, `!bang, .gitignore, main.go, main_test.go, sp ace.go`},
		{`[., "!**/node_modules", "!src", "!doc", "!g*", "!odd*", src/deep]`, `!bang, .gitignore, main.go, main_test.go, sp ace.go, src/deep/b.go`},
		{`[doc, doc/img, doc/img/a.png, "doc/*"]`, `doc/img/a.png, doc/index.md`},
		{`["nope?", "**/*.zig?", "nope/?", "nope/deeper?"]`, ``},

		{`[go.mdo]`, "! input go.mdo: there is no go.mdo | ? did you mean `go.mod`? | ? if it may be absent, write go.mdo?"},
		{`[zzz]`, "! input zzz: there is no zzz | ? if it may be absent, write zzz?"},
		{`[srcs/a.go]`, "! input srcs/a.go: there is no folder srcs | ? did you mean `src`? | ? if it may be absent, write srcs/a.go?"},
		{`[go.mod/]`, `! input go.mod/: go.mod is a file, not a folder | ? write it without a slash behind it`},
		{`[go.mod/x]`, `! input go.mod/x: go.mod is a file, not a folder`},
		{`["go.mod/?"]`, `! input go.mod/?: go.mod is a file, not a folder | ? write it without a slash behind it`},
		{`[src/link/x.txt]`, `! input src/link/x.txt: src/link is a symbolic link, which is not followed | ? name what it points to; without a slash behind it, the link itself is meant`},
		{`[src/link/]`, `! input src/link/: src/link is a symbolic link, which is not followed | ? name what it points to; without a slash behind it, the link itself is meant`},
		{`["src/link/*"]`, `! input src/link/*: src/link is a symbolic link, which is not followed | ? name what it points to; without a slash behind it, the link itself is meant`},
		{`["**/*.zig", "odd [name]/file"]`, `! input **/*.zig: nothing matches | ? if it may match nothing, write **/*.zig? | ` +
			`! input odd [name]/file: nothing matches | ? [ begins a set of characters: for the character itself write [[] | ? if it may match nothing, write odd [name]/file?`},
	} {
		want := []string{}
		if strings.HasPrefix(c.want, "! ") {
			want = strings.Split(c.want, " | ")
		} else if c.want != "" {
			want = strings.Split(c.want, ", ")
		}
		if diff := cmp.Diff(want, inputs(t, root, "outputs: [out/], inputs: "+c.inputs)); diff != "" {
			t.Errorf("%s: %s", c.inputs, diff)
		}
	}
}

func TestInputsEverything(t *testing.T) {
	root := project(t, ".gitignore: *.log\n/vendor/\ncache\n", ".attestignore: big/\n!kept.log\n",
		"attest.yaml", "main.go", "debug.log", "kept.log", "vendor/x", "sub/vendor/y", "sub/cache/z", "big/file",
		"sub/.gitignore: !debug.log\nlocal\n", "sub/debug.log", "sub/local", "sub/deep/local", "local",
		"only/a.log", "empty/", ".git/HEAD", "sub/.git/HEAD", ".attest/keys/private.key", "sub/.attest/x",
		"link -> vendor", "out/own", "attest.lock", "sub/attest.lock", "linked/.gitignore -> ../.gitignore", "linked/x.txt")
	want := []string{".attestignore", ".gitignore", "attest.yaml", "empty/", "kept.log", "link ->",
		"linked/.gitignore ->", "linked/x.txt", "local", "main.go", "sub/.gitignore", "sub/attest.lock", "sub/debug.log", "sub/vendor/y"}
	if diff := cmp.Diff(want, inputs(t, root, "outputs: [out/]")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"attest.lock"}, inputs(t, root, `inputs: ["*.lock"]`)); diff != "" {
		t.Errorf("attest.lock, named: %s", diff)
	}
}

// TestInputsOutputs checks whose outputs a step sees.
func TestInputsOutputs(t *testing.T) {
	const steps = `
  gen: {run: x, outputs: [gen/, "*.tab"]}
  build: {run: x, needs: [gen], outputs: [dist/app, "dist/log?"], inputs: ["**/*.c"]}
  test: {run: x, needs: [build], inputs: []}
  lint: {run: x}
  all: {run: x, needs: [gen, build], outputs: [report]}
`
	root := project(t, ".gitignore: /gen\n/dist\n", "main.c", "gen/a.c", "gen/sub/", "x.tab", "dist/app", "dist/other", "report")
	p := planned(t, steps)
	for i, want := range [][]string{
		{".gitignore", "main.c"},                   // gen
		{".gitignore", "main.c"},                   // lint
		{"gen/a.c", "gen/sub/", "main.c", "x.tab"}, // build
		{"dist/app"},                               // test
		{".gitignore", "dist/app", "gen/a.c", "gen/sub/", "main.c", "x.tab"}, // all
	} {
		name := []string{"gen", "lint", "build", "test", "all"}[i]
		at := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Name == name })
		entries, err := p.Inputs(t.Context(), root, at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, show(entries)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := root.Remove("dist/app"); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Name == "test" })
	_, err := p.Inputs(t.Context(), root, at)
	want := []string{"! output dist/app of step build, which test needs, is not there",
		"? run step build first, and let nothing remove what it wrote"}
	if err == nil {
		t.Fatal("an output that is gone was not noticed")
	}
	if diff := cmp.Diff(want, render(err)); diff != "" {
		t.Error(diff)
	}
	if e := source.All(err)[0]; e.Pos.Line != 7 || e.Pos.Column != 26 {
		t.Errorf("at %v", e.Pos)
	}
}

func TestInputsSpecial(t *testing.T) {
	root := project(t, "src/a", "src/pipe|", "other/pipe|")
	want := []string{`! "src/pipe" is a FIFO, not a file, folder or symbolic link`, "? remove it, or keep the step from it"}
	if diff := cmp.Diff(want, inputs(t, root, "inputs: [src]")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"src/a"}, inputs(t, root, `inputs: [src, "!src/pipe"]`)); diff != "" {
		t.Error(diff)
	}
	if got := inputs(t, root, "outputs: [x]"); len(got) != 4 {
		t.Errorf("everything: %q", got)
	}
}

// TestInputsNames keeps every byte that a name can have.
func TestInputsNames(t *testing.T) {
	names := []string{"\xff\xfe", "a\nb", "-n", "$(x)", strings.Repeat("n", 255), "tab\t", "back\\slash", "é", "e\u0301", "*", "{}"}
	root := project(t, names...)
	slices.Sort(names)
	for _, step := range []string{"cache: true", `inputs: ["*"]`, `inputs: [.]`} {
		if diff := cmp.Diff(names, inputs(t, root, step)); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
}

func TestInputsErrors(t *testing.T) {
	root := project(t, "src/a")
	p := planned(t, "  a: {run: x}\n  b: {run: x, inputs: [src]}\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped")
	cancel(why)
	for i := range p.Steps {
		if _, err := p.Inputs(ctx, root, i); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	}
	large := project(t, ".gitignore: "+strings.Repeat("#", 5<<20))
	if _, err := p.Inputs(t.Context(), large, 0); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("%v", err)
	}
}

func TestMatchOutputs(t *testing.T) {
	root := project(t, "dist/app", "dist/empty/", "dist/.git/HEAD", "log", "void/", "link -> log", "gen/a.o", "gen/b.o", "gen/c.h", "pipe|", ".attest/x.o")
	for _, c := range []struct {
		outputs, want, missing string
	}{
		{`[dist/, log]`, `dist/.git/HEAD dist/app dist/empty/ log`, ``},
		{`[void/, link]`, `link -> void/`, ``},
		{`["**/*.o"]`, `gen/a.o gen/b.o`, ``},
		{`[nope, "nope2?", nope3/, "**/*.x", "**/*.y?", log]`, `log`, `nope nope3/ **/*.x`},
		{`[log/]`, `! output log/: log is a file, not a folder ? write it without a slash behind it`, ``},
		{`["link/?"]`, `! output link/?: link is a symbolic link, which is not followed ? name what it points to; without a slash behind it, the link itself is meant`, ``},
		{`[pipe]`, `! "pipe" is a FIFO, not a file, folder or symbolic link ? remove it, or keep the step from it`, ``},
	} {
		p := parse(t, "  a: {run: x, outputs: "+c.outputs+"}\n")
		entries, missing, err := plan.MatchOutputs(t.Context(), root, p.Steps[0].Outputs)
		got := show(entries)
		if err != nil {
			if entries != nil || missing != nil || !errors.Is(err, plan.ErrInput) {
				t.Errorf("%s: results beside an error: %v", c.outputs, err)
			}
			got = nil
			for _, e := range source.All(err) {
				got = append(got, "! "+e.Msg+" ? "+strings.Join(e.Hints, " ? "))
			}
		}
		names := []string{}
		for _, m := range missing {
			names = append(names, m.String())
		}
		if g := strings.Join(got, " "); g != c.want || strings.Join(names, " ") != c.missing {
			t.Errorf("%s: got %s, missing %q", c.outputs, g, names)
		}
	}
	entries, missing, err := plan.MatchOutputs(t.Context(), root, nil)
	if len(entries)+len(missing) > 0 || err != nil {
		t.Error("no patterns match something")
	}
}

// TestInputsReads checks that folders in which nothing can match are not read:
// here they cannot be.
func TestInputsReads(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root reads every folder: what is checked is only that nothing breaks")
	}
	root := project(t, "src/a.go", "closed/x")
	if err := root.Chmod("closed", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Chmod("closed", 0o700) })
	for _, step := range []string{`inputs: [src/a.go]`, `inputs: ["src/*.go"]`, `inputs: ["s*/*.go"]`} {
		if diff := cmp.Diff([]string{"src/a.go"}, inputs(t, root, step)); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
	_, err := planned(t, "  a: {run: x}\n").Inputs(t.Context(), root, 0)
	if os.Getuid() != 0 && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("everything: %v", err)
	}
}

func TestLeft(t *testing.T) {
	p := planned(t, `
  a: {run: x, outputs: [out/bin/a, "*.tab", "gen/*/x.go", "log?"]}
  b: {run: x, outputs: [dist/]}
`)
	for path, want := range map[string][2]bool{ // left, holds
		".": {false, true}, "src": {}, "outer": {}, "gen/a/y.go": {}, "out/other": {}, "sub/attest.lock": {},
		"out": {false, true}, "out/bin": {false, true}, "gen": {false, true}, "gen/a": {},
		"out/bin/a": {true}, "x.tab": {true}, "gen/a/x.go": {true}, "log": {true}, "dist": {true}, "dist/x": {true},
		".git": {true}, ".attest": {true}, "src/.git": {true}, "attest.lock": {true},
	} {
		if got := [2]bool{p.Left(path), p.Holds(path)}; got != want {
			t.Errorf("%s: left, holds %v, want %v", path, got, want)
		}
	}
}
