// SPDX-License-Identifier: Apache-2.0

// Package scaffold writes the first attest.yaml of a project: one that runs on
// what is there, with the tools of this machine.
//
// Start with [Detect] and [Template.Pipeline]. What is written depends on the
// project's files alone.
package scaffold

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Template makes pipelines for one kind of project.
type Template struct {
	Name string
	Help string // one line

	detect func(fs.FS) bool
	build  func(project fs.FS, folder string) draft
}

// Templates returns every template. The last one, hello, suits every project;
// the others are ordered by how much their marks say about a project.
func Templates() []Template {
	return []Template{
		{"go", "a Go module (go.mod): vet, test, build", has("go.mod"), goProject},
		{"rust", "a Rust package (Cargo.toml): test, build", has("Cargo.toml"), rustProject},
		{"node", "a Node.js package (package.json): its lint, test and build scripts", has("package.json"), nodeProject},
		{"python", "a Python project (pyproject.toml, requirements.txt, setup.py): check, test, archive",
			has(pythonMarks()...), pythonProject},
		{"make", "a Makefile: its default, test and lint targets", has(makefiles()...), makeProject},
		{"c", "C sources without a Makefile: compile", hasSources("*.c"), cProject},
		{"hello", "three small steps that need nothing but a shell", func(fs.FS) bool { return true }, helloProject},
	}
}

// Detect returns the first template that fits the project.
func Detect(project fs.FS) Template {
	all := Templates()
	return all[slices.IndexFunc(all, func(t Template) bool { return t.detect(project) })]
}

// Find returns the template of that name.
func Find(name string) (Template, error) {
	var names []string
	for _, t := range Templates() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Template{}, fmt.Errorf("no template %q; there are %s", name, strings.Join(names, ", "))
}

// Fits reports whether the project has what the template is for.
func (t Template) Fits(project fs.FS) bool { return t.detect(project) }

// Pipeline returns the text of an attest.yaml for the project. folder is the
// name of its folder: the pipeline's name where the project has none.
func (t Template) Pipeline(project fs.FS, folder string) []byte {
	return t.build(project, folder).text()
}

// Ignored returns what the pipeline leaves in the project that is no input of
// anything: lines for .attestignore.
func (t Template) Ignored(project fs.FS, folder string) []string {
	return t.build(project, folder).ignored
}

func has(names ...string) func(fs.FS) bool {
	return func(project fs.FS) bool {
		return slices.ContainsFunc(names, func(n string) bool { return isFile(project, n) })
	}
}

func hasSources(pattern string) func(fs.FS) bool {
	return func(project fs.FS) bool {
		found, _ := fs.Glob(project, pattern)
		return len(found) > 0
	}
}

func isFile(project fs.FS, name string) bool {
	info, err := fs.Stat(project, name)
	return err == nil && info.Mode().IsRegular()
}

// maxRead bounds what is read of a project's file.
const maxRead = 1 << 20

// read returns the beginning of a file, nil where there is none.
func read(project fs.FS, name string) []byte {
	if !isFile(project, name) {
		return nil
	}
	f, err := project.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxRead))
	return data
}

// draft is a pipeline that is to be written.
type draft struct {
	name    string
	image   string // the everyday image, suggested in a comment
	env     [][2]string
	steps   []step
	ignored []string
}

type step struct {
	name    string
	run     string
	inputs  []string // nil leaves the key out
	outputs []string
	needs   []string
}

// text writes the draft as attest.yaml. Values are written as JSON, which
// YAML reads, so that no name of a file can be anything but a value.
func (d draft) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: \"0.1\"\nname: %s\n", quote(d.name))
	if d.image != "" {
		fmt.Fprintf(&b, "\n# Steps run with the tools of this machine. Name an image, and every step runs\n"+
			"# in a container that holds its declared inputs and nothing else of this machine:\n# image: %s\n", d.image)
	}
	if len(d.env) > 0 {
		fmt.Fprint(&b, "\nenv:\n")
		for _, v := range d.env {
			fmt.Fprintf(&b, "  %s: %s\n", v[0], quote(v[1]))
		}
	}
	fmt.Fprint(&b, "\nsteps:\n")
	for i, s := range d.steps {
		if i > 0 {
			b.WriteString("\n")
		}
		s.write(&b)
	}
	return []byte(b.String())
}

func (s step) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %s:\n", s.name)
	if strings.Contains(s.run, "\n") {
		fmt.Fprintf(b, "    run: |\n      %s\n", strings.ReplaceAll(s.run, "\n", "\n      "))
	} else {
		fmt.Fprintf(b, "    run: %s\n", quote(s.run))
	}
	if s.inputs != nil {
		fmt.Fprintf(b, "    inputs: %s\n", list(s.inputs))
	}
	if len(s.outputs) > 0 {
		fmt.Fprintf(b, "    outputs: %s\n", list(s.outputs))
	}
	if len(s.needs) > 0 {
		fmt.Fprintf(b, "    needs: %s\n", list(s.needs))
	}
}

func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// shellWord quotes s for a shell where it needs it.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-+", r)
	}
	if s != "" && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	if strings.HasPrefix(s, "-") {
		s = "./" + s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// projectName makes a pipeline's name of the first candidate that leaves
// something: letters, digits, dots, dashes and underscores.
func projectName(candidates ...string) string {
	for _, c := range candidates {
		name := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
				return r
			}
			return '-'
		}, c)
		if name = strings.Trim(name, "-._"); name != "" {
			return name[:min(len(name), 64)]
		}
	}
	return "project"
}
