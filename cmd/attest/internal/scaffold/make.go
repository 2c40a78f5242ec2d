// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// makefiles are the names that make looks for, in its order.
func makefiles() []string { return []string{"GNUmakefile", "makefile", "Makefile"} }

// makeProject runs the targets that a Makefile has.
func makeProject(project fs.FS, folder string) draft {
	var rules makeRules
	if i := slices.IndexFunc(makefiles(), func(n string) bool { return isFile(project, n) }); i >= 0 {
		rules = parseMakefile(read(project, makefiles()[i]))
	}
	d := draft{name: projectName(folder), image: "gcc:14"}
	var before []string
	if rules.has("lint") {
		d.steps = append(d.steps, step{name: "lint", run: "make lint"})
		before = append(before, "lint")
	}
	build := step{name: "build", run: "make", needs: before}
	for _, target := range []string{"all", "build"} {
		if rules.has(target) {
			build.run, build.outputs = "make "+target, rules.files(target)
			break
		}
	}
	d.steps = append(d.steps, build)
	for _, target := range []string{"test", "check"} {
		if rules.has(target) {
			d.steps = append(d.steps, step{name: "test", run: "make " + target, needs: []string{"build"}})
			break
		}
	}
	return d
}

// makeRules are a Makefile's rules without variables: target to what it needs.
type makeRules map[string][]string

func parseMakefile(text []byte) makeRules {
	makeRule := regexp.MustCompile(`^([A-Za-z0-9_./-][A-Za-z0-9_./ -]*?)\s*:(?:[^=:]|$)`)
	rules := makeRules{}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		line, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		if !makeRule.MatchString(line) {
			continue
		}
		targets, needs, _ := strings.Cut(line, ":")
		needs, _, _ = strings.Cut(needs, ";")
		for _, t := range strings.Fields(targets) {
			rules[t] = append(rules[t], strings.Fields(needs)...)
		}
	}
	return rules
}

func (r makeRules) has(target string) bool { _, ok := r[target]; return ok }

// files returns what a phony target makes and a rule of its own describes:
// files that are there when it is done.
func (r makeRules) files(target string) []string {
	var files []string
	for _, need := range r[target] {
		if r.has(need) && !slices.Contains(r[".PHONY"], need) && !slices.Contains(files, need) &&
			!strings.HasPrefix(need, "/") && !strings.Contains(need, "..") && need != target {
			files = append(files, need)
		}
	}
	return files
}

// cProject compiles the C files of the folder into one program, or where none
// of them has a main, into a library.
func cProject(project fs.FS, folder string) draft {
	d := draft{name: projectName(folder), image: "gcc:14"}
	sources, _ := fs.Glob(project, "*.c")
	program := regexp.MustCompile(`(?m)^\s*(?:int|void)?\s*main\s*\(`)
	if slices.ContainsFunc(sources, func(s string) bool { return program.Match(read(project, s)) }) {
		out := "bin/" + d.name
		d.steps = []step{{name: "build", run: "mkdir -p bin\ncc -O2 -Wall -o " + out + " *.c", outputs: []string{out}}}
		return d
	}
	out := "lib/lib" + d.name + ".a"
	d.steps = []step{{
		name: "build", outputs: []string{out},
		run: "mkdir -p lib obj\nfor f in *.c; do cc -O2 -Wall -c \"$f\" -o \"obj/${f%.c}.o\"; done\nar rcsD " + out + " obj/*.o",
	}}
	d.ignored = []string{"obj/"}
	return d
}

// helloProject shows what a pipeline is, where there is nothing to build yet.
func helloProject(_ fs.FS, folder string) draft {
	return draft{name: projectName(folder), image: "debian:stable-slim", steps: []step{
		{
			name: "greet", inputs: []string{}, outputs: []string{"out/hello.txt"},
			run: "mkdir -p out\necho 'Hello from attest' > out/hello.txt",
		},
		{
			name: "count", inputs: []string{}, outputs: []string{"out/count.txt"}, needs: []string{"greet"},
			run: "wc -c < out/hello.txt > out/count.txt",
		},
		{
			name: "check", inputs: []string{}, needs: []string{"greet", "count"},
			run: "grep -q Hello out/hello.txt\ntest -s out/count.txt",
		},
	}}
}
