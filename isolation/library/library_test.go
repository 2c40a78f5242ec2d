// SPDX-License-Identifier: Apache-2.0

package library_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/library"
)

// asked is what the machine's own linker says of a program; nothing of one that is
// linked with nothing.
func asked(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		_, path, ok := strings.Cut(line, " => ")
		if path, _, _ = strings.Cut(path, " ("); !ok || !filepath.IsAbs(path) {
			continue // the linker itself, and what the kernel has
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, real)
	}
	return all
}

func TestProgramsOfThisMachine(t *testing.T) {
	var f library.Finder
	found := 0
	for _, name := range []string{"sh", "git", "python3", "gcc", "openssl", "perl", "curl"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if program, err = filepath.EvalSymlinks(program); err != nil {
			t.Fatal(err)
		}
		got := f.Of([]string{program}, nil, nil)
		for _, want := range asked(t, program) {
			found++
			if !slices.Contains(got, want) {
				t.Errorf("%s is linked with %s; found %q", name, want, got)
			}
		}
	}
	if found == 0 {
		t.Skip("no program of this machine is linked with anything, or nothing says so")
	}
	if got := f.Of([]string{"/etc/passwd", "/nowhere", "/", ""}, nil, nil); len(got) > 0 {
		t.Errorf("no programs have libraries: %q", got)
	}
}

// compiled makes a library, or a program, that needs others.
func compiled(t *testing.T, out string, args ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("there is no C compiler")
	}
	source := filepath.Join(t.TempDir(), "x.c")
	text := "int f(void); int main(void) { return f(); }\n"
	if slices.Contains(args, "-shared") {
		text = "int f(void) { return 0; }\n"
	}
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(cc, append([]string{"-o", out, source}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// Every way by which a linker finds a library.
func TestWays(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lib := func(name string) string { return filepath.Join(dir, "lib", name) }
	compiled(t, lib("libf.so.1.2"), "-shared", "-Wl,-soname,libf.so.1")
	for _, link := range []string{"libf.so.1", "libf.so"} {
		if err := os.Symlink("libf.so.1.2", lib(link)); err != nil {
			t.Fatal(err)
		}
	}
	compiled(t, filepath.Join(dir, "other", "libf.so.1"), "-shared", "-Wl,-soname,libf.so.1")
	program := func(name string, flags ...string) string {
		path := filepath.Join(dir, "bin", name)
		compiled(t, path, append(flags, "-L"+filepath.Join(dir, "lib"), "-lf", "-Wl,-rpath-link,"+filepath.Join(dir, "lib"))...)
		return path
	}
	plain := program("plain")
	mine, theirs := []string{lib("libf.so.1"), lib("libf.so.1.2")}, []string{filepath.Join(dir, "other", "libf.so.1")}
	for _, c := range []struct {
		name, program       string
		searched, preloaded []string
		want                []string
	}{
		{"runpath", program("runpath", "-Wl,--enable-new-dtags", "-Wl,-rpath,"+filepath.Join(dir, "lib")), nil, nil, mine},
		{"origin", program("origin", "-Wl,-rpath,$ORIGIN/../lib"), nil, nil, mine},
		{"the environment", plain, []string{filepath.Join(dir, "lib")}, nil, mine},
		{"the environment before the runpath", program("both", "-Wl,--enable-new-dtags", "-Wl,-rpath,"+filepath.Join(dir, "lib")),
			[]string{filepath.Join(dir, "other")}, nil, theirs},
		{"the rpath before the environment", program("old", "-Wl,--disable-new-dtags", "-Wl,-rpath,"+filepath.Join(dir, "lib")),
			[]string{filepath.Join(dir, "other")}, nil, mine},
		{"preloaded", plain, nil, theirs, theirs},
		{"nowhere", plain, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f library.Finder
			got := slices.DeleteFunc(f.Of([]string{c.program}, c.searched, c.preloaded), func(p string) bool { return !strings.HasPrefix(p, dir) })
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
