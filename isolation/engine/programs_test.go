// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/library"
)

// A program that comes to be in PATH before the one that ran, or where none was, is
// a reason to run again: also where the name was that of a link.
func TestProgramsByName(t *testing.T) {
	dir := t.TempDir()
	early, late, tool := filepath.Join(dir, "early"), filepath.Join(dir, "late"), filepath.Join(dir, "lib", "gcc-12")
	put := func(name string, mode os.FileMode) func() {
		return func() {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("#!/bin/sh\n"), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, reason string
		change       func()
	}{
		{"nothing", "", func() {}},
		{"another name", "", put(filepath.Join(early, "clang"), 0o755)},
		{"later in PATH", "", put(filepath.Join(late, "tool"), 0o755)},
		{"no program", "", put(filepath.Join(early, "gcc"), 0o644)},
		{"a program of the same name", "another program is found: EARLY/gcc in place of TOOL", put(filepath.Join(early, "gcc"), 0o755)},
		{"one by the name of a link", "another program is found: EARLY/cc in place of TOOL", put(filepath.Join(early, "cc"), 0o755)},
		{"one that was not there", "there now, and looked for in vain before: LATE/pandoc", put(filepath.Join(late, "pandoc"), 0o755)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range []string{early, late} {
				if err := os.RemoveAll(d); err != nil {
					t.Fatal(err)
				}
			}
			put(tool, 0o755)()
			put(filepath.Join(late, "README"), 0o644)()
			for _, name := range []string{"cc", "gcc"} {
				if err := os.Symlink(tool, filepath.Join(late, name)); err != nil {
					t.Fatal(err)
				}
			}
			settle()
			p, ran, _ := found(t, "env: {A: b}", executor.Outcome{Programs: []executor.File{{Path: tool}}, MissingPrograms: []string{"pandoc"}})
			p.options.Environ = []string{"PATH=nowhere:" + early + ":" + late}
			p.run()
			ran.take()
			c.change()
			reason := p.lastReason()
			p.run()
			want := strings.NewReplacer("EARLY", early, "LATE", late, "TOOL", tool).Replace(c.reason)
			if again := ran.take() != ""; again != (want != "") || *reason != want {
				t.Errorf("ran again: %t, reason %q, want %q", again, *reason, want)
			}
		})
	}
}

// A library that a program is linked with is part of it.
func TestLibrariesOfPrograms(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	var finder library.Finder
	linked := finder.Of([]string{sh}, nil, nil)
	if len(linked) == 0 {
		t.Skip("the shell of this machine is linked with nothing")
	}
	text, err := os.ReadFile(linked[len(linked)-1])
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(t.TempDir(), "lib.so")
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(lib, text, 0o755); err != nil {
			t.Fatal(err)
		}
		settle()
	}
	put(text)
	p, ran, _ := found(t, "env: {LD_PRELOAD: "+lib+"}", executor.Outcome{Programs: []executor.File{{Path: sh}}})
	reason := p.lastReason()
	p.run()
	ran.take()
	if p.run(); ran.take() != "" {
		t.Fatalf("nothing changed, and it ran again: %s", *reason)
	}
	put(append(text, 0))
	if p.run(); ran.take() == "" || *reason != "library of a program changed: "+lib {
		t.Errorf("the reason is %q", *reason)
	}
	if err := os.Remove(lib); err != nil {
		t.Fatal(err)
	}
	if p.run(); ran.take() == "" {
		t.Error("a library that is gone is the same as before")
	}
}
