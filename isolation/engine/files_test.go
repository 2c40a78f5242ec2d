// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/landing"
)

func TestStaleOutputs(t *testing.T) {
	leave := map[string]string{"dist/a": "1", "gen/x.o": "1", "gen/deep/y.o": "1", "log": "1"}
	p := newProject(t, `steps: {s: {run: x, inputs: [], outputs: [dist/, "gen/**/*.o", "log?"]}}`+"\n",
		map[string]string{"dist/older": "0", "gen/mine.o": "mine", "gen/deep/src.c": "mine"},
		inMemory{"s": func(_ context.Context, j job) (int, error) {
			for name, content := range leave {
				if err := j.put(name, content); err != nil {
					return 0, err
				}
			}
			return 0, nil
		}})
	p.run()
	for name, want := range map[string]bool{"dist/older": false, "dist/a": true, "gen/x.o": true, "gen/mine.o": true, "log": true} {
		if p.exists(name) != want {
			t.Errorf("after the first run %s is there: %v, want %v", name, !want, want)
		}
	}
	leave = map[string]string{"dist/b": "2", "gen/z.o": "2"}
	rec := p.run()
	for name, want := range map[string]bool{
		"dist/a": false, "dist/b": true, "gen/x.o": false, "gen/deep/y.o": false, "gen/z.o": true, "log": false,
		"gen/mine.o": true, "gen/deep/src.c": true,
	} {
		if p.exists(name) != want {
			t.Errorf("after the second run %s is there: %v, want %v", name, !want, want)
		}
	}
	if got := rec.Results[0].Outputs; got.Len() != 2 {
		t.Errorf("outputs are %v", got.Entries())
	}
}

// TestHostileStaging: what an executor hands over is not trusted.
func TestHostileStaging(t *testing.T) {
	tests := []struct {
		name, outputs string
		leave         func(job) error
		want          string // in the error
	}{
		{"a FIFO", `["d/"]`, func(j job) error {
			return errors.Join(j.put("d/x", ""), syscall.Mkfifo(filepath.Join(j.Staging, "d/pipe"), 0o644))
		}, "FIFO"},
		{"a file that no output names", `["a"]`, func(j job) error { return errors.Join(j.put("a", ""), j.put("b", "")) }, "no output names"},
		{"a hook for git", `["**"]`, func(j job) error { return j.put(".git/hooks/pre-commit", "evil") }, `left no "**"`},
		{"a key", `["**"]`, func(j job) error { return j.put(".attest/keys/public.key", "evil") }, `left no "**"`},
		{"another pipeline", `["*.yaml"]`, func(j job) error { return j.put("attest.yaml", "evil") }, "attest.yaml"},
		{"a file in place of a folder of sources", `["*"]`, func(j job) error { return j.put("src", "evil") }, "folder"},
		{"a file behind a link out of the project", `["link/a"]`, func(j job) error { return j.put("link/a", "evil") }, "symbolic link"},
		{"a name that no receipt can hold", `["*"]`, func(j job) error { return j.put("a\xff", "") }, `a\xff`},
		{"a link in place of a declared folder", `["d/"]`, func(j job) error {
			return os.Symlink("/etc", filepath.Join(j.Staging, "d"))
		}, "d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outside := t.TempDir()
			p := newProject(t, "steps: {s: {run: x, inputs: [], outputs: "+tt.outputs+"}}\n",
				map[string]string{"src/main.c": "1", ".git/hooks/x": "1", ".attest/keys/k": "1", "link2": ""},
				inMemory{"s": func(_ context.Context, j job) (int, error) { return 0, tt.leave(j) }})
			if err := os.Symlink(outside, p.path("link")); err != nil {
				t.Fatal(err)
			}
			before := listing(t, p.dir)
			_, err := engine.Run(context.Background(), p.options)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one about %q", err, tt.want)
			}
			if after := listing(t, p.dir); after != before {
				t.Errorf("the project changed:\n%s\nbefore:\n%s", after, before)
			}
			if items, _ := os.ReadDir(outside); len(items) > 0 {
				t.Errorf("something came to be outside: %v", items)
			}
		})
	}
}

// listing is the project without what the engine keeps in .attest.
func listing(t *testing.T, dir string) string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tr, err := tree.Hasher{}.Scan(context.Background(), root, "", func(p string, _ bool) bool {
		return p == ".attest/logs" || p == ".attest/tmp" || p == ".attest/lock" || p == ".attest/.gitignore"
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(tr.Listing())
}

// TestNamesOfAnyBytesInFolders: a folder's listing holds what a receipt cannot.
func TestNamesOfAnyBytesInFolders(t *testing.T) {
	const name = "in/a\xff\nb"
	p := newProject(t, "steps: {s: {run: x, inputs: [in/], outputs: [out/]}}\n", map[string]string{name: "1"},
		inMemory{"s": func(_ context.Context, j job) (int, error) { return 0, j.put("out/\xfe", "1") }})
	p.run()
	// Beside a file that is no input, the folder cannot stand for the name.
	p.write("attest.yaml", head+`steps: {s: {run: x, inputs: [in/, "!in/other"], outputs: [out/]}}`+"\n")
	p.write("in/other", "")
	p.replan()
	if _, err := p.fail(); !strings.Contains(err.Error(), `a\xff\nb`) {
		t.Errorf("error is %v, want one that quotes the name", err)
	}
}

func TestTwoStepsOnOnePath(t *testing.T) {
	for _, outputs := range [][2]string{{"a/*", "*/x"}, {"*/x", "a/*"}} {
		p := newProject(t, `steps:
  one: {run: x, inputs: [], outputs: ["`+outputs[0]+`"]}
  two: {run: x, inputs: [], outputs: ["`+outputs[1]+`"]}
`, nil, inMemory{
			"one": func(_ context.Context, j job) (int, error) { return 0, j.put("a/x", "one") },
			"two": func(_ context.Context, j job) (int, error) { return 0, j.put("a/x", "two") },
		})
		p.options.Jobs = 1
		rec, err := p.fail()
		if !errors.Is(err, landing.ErrRefused) || !strings.Contains(err.Error(), "step one") {
			t.Errorf("error is %v", err)
		}
		if got := p.read("a/x"); got != "one" {
			t.Errorf("a/x is step %s's: %s", got, statuses(rec))
		}
	}
}

func TestVerifyDependencies(t *testing.T) {
	const yaml = `attestation: {verify_dependencies: true}
steps:
  build: {run: x, inputs: [], outputs: [dist/, "*.o"]}
  evil: {run: x, inputs: [], needs: [build]}
  test: {run: x, inputs: [], needs: [build, evil]}
`
	tests := []struct {
		name string
		do   func(dir string) error
		want string
	}{
		{"changed", func(dir string) error { return os.WriteFile(dir+"/dist/file", []byte("evil!"), 0o644) }, `"dist/file"`},
		{"made executable", func(dir string) error { return os.Chmod(dir+"/dist/file", 0o755) }, `"dist/file"`},
		{"removed", func(dir string) error { return os.Remove(dir + "/dist/file") }, `"dist/file"`},
		{"made a link", func(dir string) error {
			return errors.Join(os.Remove(dir+"/dist/file"), os.Symlink("build", dir+"/dist/file"))
		}, `"dist/file"`},
		{"added", func(dir string) error { return os.WriteFile(dir+"/dist/more", nil, 0o644) }, `"dist/more"`},
		{"added to a glob", func(dir string) error { return os.WriteFile(dir+"/more.o", nil, 0o644) }, `"more.o"`},
		{"nothing", func(string) error { return nil }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tested := false
			p := newProject(t, yaml, nil, inMemory{
				"build": func(_ context.Context, j job) (int, error) {
					return 0, errors.Join(j.put("dist/file", "build"), j.put("a.o", "build"))
				},
				"evil": func(_ context.Context, j job) (int, error) { return 0, tt.do(j.Root) },
				"test": func(context.Context, job) (int, error) { tested = true; return 0, nil },
			})
			if tt.want == "" {
				p.run()
				return
			}
			_, err := p.fail()
			if tested || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "step build") {
				t.Errorf("test ran: %v; error is %v, want one about %s", tested, err, tt.want)
			}
			if all := source.All(err); len(all) != 1 || all[0].Pos.Line != 7 {
				t.Errorf("its place is %v", all)
			}
		})
	}
}

// TestUndeclaredChangesAreSeen: without verify_dependencies a step gets what is
// there, and the receipt says so.
func TestUndeclaredChangesAreSeen(t *testing.T) {
	p := newProject(t, `attestation: {verify_dependencies: false}
steps:
  build: {run: x, inputs: [], outputs: [out]}
  change: {run: x, inputs: [], needs: [build]}
  test: {run: x, inputs: [], needs: [build, change]}
`, nil, inMemory{"change": func(_ context.Context, j job) (int, error) {
		return 0, os.WriteFile(filepath.Join(j.Root, "out"), []byte("other"), 0o644)
	}})
	rec := p.run()
	if in := rec.Receipt.Steps[2].Inputs; len(in) != 1 || in[0].Hash != digest.Of([]byte("other")) {
		t.Errorf("test's inputs are %v", in)
	}
	if out := rec.Receipt.Steps[0].Outputs; len(out) != 1 || out[0].Hash != digest.Of([]byte("build")) {
		t.Errorf("build's outputs are %v", out)
	}
}

// TestRewrittenInputIsReadAgain changes a file between two steps that see it,
// keeping what can be kept.
func TestRewrittenInputIsReadAgain(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	p := newProject(t, `steps:
  one: {run: x, inputs: [in]}
  two: {run: x, inputs: [in], needs: [one]}
  three: {run: x, inputs: [in], needs: [two]}
`, map[string]string{"in": "before"}, inMemory{"two": func(_ context.Context, j job) (int, error) {
		in := filepath.Join(j.Root, "in")
		return 0, errors.Join(os.WriteFile(in, []byte("after!"), 0o644), os.Chtimes(in, old, old))
	}})
	if err := os.Chtimes(p.path("in"), old, old); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second) // its ctime is settled, so digests are remembered
	rec := p.run()
	for i, want := range []string{"before", "before", "after!"} {
		if in := rec.Receipt.Steps[i].Inputs; len(in) != 1 || in[0].Hash != digest.Of([]byte(want)) {
			t.Errorf("step %d's inputs are %v, want %q", i+1, in, want)
		}
	}
}

// TestNotTheStepsOwn: a file that a glob matches and that nobody made is named,
// not removed, and not taken for an output.
func TestNotTheStepsOwn(t *testing.T) {
	p := newProject(t, `steps:
  build: {run: x, inputs: [], outputs: ["*.o"]}
  use: {run: x, inputs: [], needs: [build]}
`, map[string]string{"mine.o": "mine"}, inMemory{"build": func(_ context.Context, j job) (int, error) { return 0, j.put("a.o", "") }})
	_, err := p.fail()
	if all := source.All(err); len(all) != 1 || !strings.Contains(all[0].Msg, `"mine.o"`) || len(all[0].Hints) != 2 {
		t.Errorf("error is %v", err)
	}
	if p.read("mine.o") != "mine" {
		t.Error("it changed")
	}
}

func TestKilledRunIsClearedAway(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: [], outputs: [dist/]}}\n", map[string]string{
		".attest/tmp/20200101_000000/0/out/half":              "1",
		".attest/tmp/20200101_000000/0/out.old/0":             "1",
		".attest/tmp/20200101_000000/1/out.aside/earlier/out": "put back",
	}, nil)
	if err := os.Chmod(p.path(".attest/tmp/20200101_000000/0/out"), 0o500); err != nil {
		t.Fatal(err)
	}
	p.run() // its check wants nothing in tmp
	if got := p.read("earlier/out"); got != "put back" {
		t.Errorf("an output that was aside holds %q", got)
	}
}

func TestStateFolder(t *testing.T) {
	t.Run("a link", func(t *testing.T) {
		p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, nil)
		elsewhere := t.TempDir()
		if err := os.Symlink(elsewhere, p.path(".attest")); err != nil {
			t.Fatal(err)
		}
		if rec, err := engine.Run(context.Background(), p.options); err == nil || rec != nil {
			t.Errorf("record %v, error %v", rec, err)
		}
		if items, _ := os.ReadDir(elsewhere); len(items) > 0 {
			t.Errorf("something was made elsewhere: %v", items)
		}
	})
	t.Run("a link inside the project", func(t *testing.T) {
		p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", map[string]string{"src/a": ""}, nil)
		if err := os.Symlink("src", p.path(".attest")); err != nil {
			t.Fatal(err)
		}
		if rec, err := engine.Run(context.Background(), p.options); err == nil || rec != nil || !strings.Contains(err.Error(), ".attest") {
			t.Errorf("record %v, error %v", rec, err)
		}
		if items, _ := os.ReadDir(p.path("src")); len(items) != 1 {
			t.Errorf("something was made among the sources: %v", items)
		}
	})
	t.Run("a link for a lock", func(t *testing.T) {
		p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", map[string]string{".attest/x": ""}, nil)
		victim := filepath.Join(t.TempDir(), "victim")
		if err := os.Symlink(victim, p.path(".attest/lock")); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Run(context.Background(), p.options); err == nil {
			t.Error("the run began")
		}
		if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a file was made elsewhere")
		}
	})
	t.Run("git does not see it", func(t *testing.T) {
		p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", nil, nil)
		p.run()
		if got := p.read(".attest/.gitignore"); !strings.HasSuffix(got, "\n*\n") {
			t.Errorf(".gitignore holds %q", got)
		}
		p.write(".attest/.gitignore", "# mine\n")
		p.run()
		if got := p.read(".attest/.gitignore"); got != "# mine\n" {
			t.Errorf("the user's .gitignore was overwritten: %q", got)
		}
	})
}
