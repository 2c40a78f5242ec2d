// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (s *suite) testOutputs(t *testing.T) {
	for _, test := range []struct {
		name    string
		outputs []string
		script  string
		want    map[string]string
	}{
		{"none declared", nil, "echo x > stray; mkdir d; echo y > d/stray", nil},
		{"a file", []string{"out"}, "echo x > out; echo y > stray",
			map[string]string{"out": "0644 x\n"}},
		{"modes", []string{"out/"},
			"mkdir out; cd out; for m in 0600 0755 0444 0640 0400; do echo x > $m; chmod $m $m; done",
			map[string]string{"out/0600": "0600 x\n", "out/0755": "0755 x\n", "out/0444": "0444 x\n",
				"out/0640": "0640 x\n", "out/0400": "0400 x\n"}},
		{"special bits are dropped", []string{"out/"},
			"mkdir out; cd out; for m in 4755 2755 1644 6755; do echo x > $m; chmod $m $m; done",
			map[string]string{"out/4755": "0755 x\n", "out/2755": "0755 x\n", "out/1644": "0644 x\n", "out/6755": "0755 x\n"}},
		{"links", []string{"out/"},
			"mkdir -p out/d; cd out; echo x > file; ln -s file rel; ln -s ../file d/up; ln -s /etc/passwd abs; ln -s nowhere dangling; ln -s d folder; ln -s . loop; ln -s ../../../../etc/passwd far",
			map[string]string{"out/file": "0644 x\n", "out/rel": "-> file", "out/d/up": "-> ../file", "out/abs": "-> /etc/passwd",
				"out/dangling": "-> nowhere", "out/folder": "-> d", "out/loop": "-> .", "out/far": "-> ../../../../etc/passwd"}},
		{"a link as the output", []string{"out"}, "ln -s /etc/passwd out",
			map[string]string{"out": "-> /etc/passwd"}},
		{"empty folders", []string{"out/"}, "mkdir -p out/a/b out/c; echo x > out/c/file; mkdir out/c/d",
			map[string]string{"out/a/b": "empty", "out/c/file": "0644 x\n", "out/c/d": "empty"}},
		{"an empty folder", []string{"out/"}, "mkdir out", map[string]string{"out": "empty"}},
		{"an empty file", []string{"out"}, ": > out", map[string]string{"out": "0644 "}},
		{"nested", []string{"a/b/c/"}, "mkdir -p a/b/c/d/e; echo x > a/b/c/d/e/f; echo y > a/b/stray",
			map[string]string{"a/b/c/d/e/f": "0644 x\n"}},
		{"several", []string{"one", "two/", "three/four"}, "mkdir two three; echo 1 > one; echo 2 > two/2; echo 4 > three/four; echo 5 > three/five",
			map[string]string{"one": "0644 1\n", "two/2": "0644 2\n", "three/four": "0644 4\n"}},
		{"globs", []string{"*.o", "lib/**/*.a"}, "mkdir -p lib/x/y; for f in a.o b.o c.c lib/1.a lib/x/2.a lib/x/y/3.a lib/x/4.c; do echo x > $f; done",
			map[string]string{"a.o": "0644 x\n", "b.o": "0644 x\n", "lib/1.a": "0644 x\n", "lib/x/2.a": "0644 x\n", "lib/x/y/3.a": "0644 x\n"}},
		{"less what is excluded", []string{"out/", "!out/tmp/"}, "mkdir -p out/tmp; echo x > out/file; echo y > out/tmp/file",
			map[string]string{"out/file": "0644 x\n"}},
		{"optional and absent", []string{"out", "log?"}, "echo x > out", map[string]string{"out": "0644 x\n"}},
		{"optional and there", []string{"out", "log?"}, "echo x > out; echo y > log", map[string]string{"out": "0644 x\n", "log": "0644 y\n"}},
		{"missing", []string{"out", "there"}, "echo x > there", map[string]string{"there": "0644 x\n"}},
		{"all missing", []string{"out/"}, "true", nil},
		{"hard links", []string{"out/"}, "mkdir out; echo x > out/a; ln out/a out/b", map[string]string{"out/a": "0644 x\n", "out/b": "0644 x\n"}},
		{"after a failure", []string{"out", "more/"}, "mkdir more; echo x > out; echo y > more/y; exit 3", nil},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			want := 0
			if strings.HasSuffix(test.script, "exit 3") {
				want = 3
			}
			p.run(p.shell(test.script, test.outputs...)).wantExit(t, want)
			p.wantStaging(test.want)
		})
	}
	s.run(t, "folders' modes", s.testFolderModes)
	s.run(t, "closed to everybody", s.testUnreadable)
	s.run(t, "tied to an input", s.testTied)
	s.run(t, "from before", s.testBefore)
	s.run(t, "special files", s.testSpecial)
	s.run(t, "through a link", s.testThroughLink)
}

func (s *suite) testFolderModes(t *testing.T) {
	p := s.project(t)
	p.run(p.shell("mkdir -p out/0555 out/0750 out/0700; echo x > out/0555/file; for d in out/*; do chmod ${d#out/} $d; done", "out/")).wantExit(t, 0)
	p.wantStaging(map[string]string{"out/0555/file": "0644 x\n", "out/0750": "empty", "out/0700": "empty"})
	for name, want := range map[string]fs.FileMode{"0555": 0o555, "0750": 0o750, "0700": 0o700} {
		info, err := os.Lstat(filepath.Join(p.staging, "out", name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("out/%s: %v, error %v", name, info.Mode(), err)
		}
	}
}

// An output whose mode lets nobody read it comes back like any other.
func (s *suite) testUnreadable(t *testing.T) {
	p := s.project(t)
	p.run(p.shell("mkdir out; echo x > out/file; chmod 0 out/file", "out/")).wantExit(t, 0)
	info, err := os.Lstat(p.staging + "/out/file")
	if err != nil || info.Mode() != 0 {
		t.Fatalf("mode %v, error %v", info, err)
	}
}

// A hard link from an output to an input would let a later edit of the one
// change the other.
func (s *suite) testTied(t *testing.T) {
	p := s.project(t)
	p.write("input", "x\n", 0o644)
	p.run(p.shell("ln input out || cp input out", "out")).wantExit(t, 0)
	p.wantStaging(map[string]string{"out": "0644 x\n"})
	p.write("input", "changed\n", 0o644)
	p.wantStaging(map[string]string{"out": "0644 x\n"})
}

// An output that an earlier run left is neither seen by the command nor taken
// for its work.
func (s *suite) testBefore(t *testing.T) {
	for _, test := range []struct {
		name, script string
		code         int
		want         map[string]string
	}{
		{"not written again", "test ! -e out/old", 0, nil},
		{"written again", "mkdir -p out; echo new > out/new", 0, map[string]string{"out/new": "0644 new\n"}},
		{"failed", "test ! -e out/old; mkdir -p out; echo new > out/old; exit 1", 1, nil},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			job := p.shell(test.script, "out/") // planned without its own outputs
			p.write("out/old", "old\n", 0o640)
			p.run(job).wantExit(t, test.code)
			p.wantStaging(test.want)
			if test.code == 0 {
				return
			}
			if got := describe(t, p.root)["out/old"]; got != "0640 old\n" {
				t.Fatalf("after a failure, out/old is %q", got)
			}
		})
	}
}

func (s *suite) testSpecial(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"FIFO", "mkdir out; mkfifo out/special"},
		{"device", "mkdir out; mknod out/special c 1 3 2>/dev/null || exit 9"},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			got := p.run(p.shell(test.script, "out/"))
			if got.err == nil && got.ExitCode == 9 {
				return // the level does not let a command make one
			}
			if got.err == nil || !strings.Contains(got.err.Error(), "out/special") {
				t.Fatalf("exit code %d, error %v; want one that names out/special", got.ExitCode, got.err)
			}
			p.wantStaging(nil)
		})
	}
}

// A folder of an output's path that is a link leads nowhere: an output lies in
// the project by its own path.
func (s *suite) testThroughLink(t *testing.T) {
	p := s.project(t)
	got := p.run(p.shell("ln -s /tmp d; mkdir real; echo x > real/"+word()+"; ln -s real within", "d/*", "within/*"))
	if got.err == nil {
		got.wantExit(t, 0)
	}
	p.wantStaging(nil)
}
