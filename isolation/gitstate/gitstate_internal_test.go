// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// repo is a git repository of a test.
type repo struct {
	t       testing.TB
	dir     string
	settled int
}

func newRepo(t testing.TB, initial ...string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("these tests need git")
	}
	r := &repo{t: t, dir: t.TempDir()}
	r.git(append([]string{"init", "-q"}, initial...)...)
	r.write(".gitignore", "*.ignored\nbuild/\n")
	for _, name := range []string{"a", "b", "sub/c", "sub/deep/d", "sub.x", "z/e", "z/f"} {
		r.write(name, name)
	}
	r.do(os.Chmod(r.path("b"), 0o755))
	r.do(os.Symlink("sub/c", r.path("link")))
	r.commit()
	return r
}

func (r *repo) do(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r *repo) write(name, content string) {
	r.t.Helper()
	r.do(os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	r.do(os.WriteFile(r.path(name), []byte(content), 0o644))
}

// commit commits everything.
func (r *repo) commit() {
	r.t.Helper()
	r.settle()
	r.git("add", "-A")
	r.git("commit", "-qm", "x", "--allow-empty")
}

// settle makes all files older than the index, so that git need not read them
// again, and tells git.
func (r *repo) settle() {
	r.t.Helper()
	r.settled++ // git may compare no more than seconds
	old := time.Now().Add(-time.Hour + time.Duration(r.settled)*2*time.Second)
	for _, name := range strings.Split(r.git("ls-files", "-zco"), "\x00") {
		if info, err := os.Lstat(r.path(name)); err == nil && info.Mode().IsRegular() {
			r.do(os.Chtimes(r.path(name), old, old))
		}
	}
	time.Sleep(2 * time.Duration(tick)) // for symbolic links
	r.git("update-index", "-q", "--really-refresh")
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// ask asks about a folder in two ways, and wants one answer. It reports
// whether git status was done without.
func (r *repo) ask(dir string, seen ...tree.Found) (state State, quickly bool) {
	r.t.Helper()
	var states []State
	for _, large := range []int64{1 << 40, 1} {
		q := Ask(context.Background(), Options{Dir: filepath.Join(r.dir, dir), Environ: os.Environ(), Large: large})
		s, err := q.Answer(context.Background(), seen...)
		if err != nil || s == nil {
			r.t.Fatalf("%v, %v", s, err)
		}
		states = append(states, *s)
		quickly = q.quick != nil && q.quick.answer(context.Background(), seen) != nil
	}
	if states[0] != states[1] {
		r.t.Fatalf("git status says %+v, the quick way %+v", states[0], states[1])
	}
	return states[0], quickly
}

// walk is what a run would have seen of a folder.
func (r *repo) walk(dir string) tree.Found {
	r.t.Helper()
	root, err := os.OpenRoot(filepath.Join(r.dir, dir))
	r.do(err)
	defer root.Close()
	w := tree.Walker[struct{}]{Root: root, Child: func(p string, isDir bool, _ struct{}) (struct{}, tree.Verdict) {
		take := p != ".git" && p != "link"
		return struct{}{}, tree.Verdict{Take: take, Descend: take && isDir}
	}}
	found, err := w.Walk(context.Background(), "", struct{}{}, tree.Verdict{})
	r.do(err)
	return found
}

// TestCleanIsSeenQuickly: repositories in which git status need not be asked.
func TestCleanIsSeenQuickly(t *testing.T) {
	for name, prepare := range map[string]func(r *repo){
		"as it is":          func(*repo) {},
		"version 4":         func(r *repo) { r.git("update-index", "--index-version", "4"); r.settle() },
		"version 2":         func(r *repo) { r.git("update-index", "--index-version", "2"); r.settle() },
		"ignored files":     func(r *repo) { r.write("x.ignored", ""); r.write("build/x", "") },
		"an empty folder":   func(r *repo) { r.do(os.Mkdir(r.path("empty"), 0o755)) },
		"untracked cache":   func(r *repo) { r.git("update-index", "--untracked-cache"); r.git("status"); r.settle() },
		"long names":        func(r *repo) { r.write(strings.Repeat("x", 250), ""); r.write("\n\t\"é", ""); r.commit() },
		"packed references": func(r *repo) { r.git("pack-refs", "--all") },
		"a detached head":   func(r *repo) { r.git("checkout", "-q", "--detach"); r.settle() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			prepare(r)
			want := State{Commit: r.git("rev-parse", "HEAD")}
			for _, dir := range []string{"", "sub", "sub/deep"} {
				for _, seen := range [][]tree.Found{nil, {r.walk(dir)}, {{}, r.walk(dir), r.walk(dir)}} {
					if got, quickly := r.ask(dir, seen...); got != want || !quickly {
						t.Errorf("in %q with %d walks: %+v, quickly %v", dir, len(seen), got, quickly)
					}
				}
			}
		})
	}
	t.Run("SHA-256", func(t *testing.T) {
		r := newRepo(t, "--object-format=sha256")
		if got, quickly := r.ask(""); got.Dirty || len(got.Commit) != 64 || !quickly {
			t.Errorf("%+v, %v", got, quickly)
		}
	})
}

// TestDirty: every kind of change is seen.
func TestDirty(t *testing.T) {
	for name, change := range map[string]func(r *repo){
		"content":        func(r *repo) { r.write("a", "longer") },
		"same size":      func(r *repo) { r.write("a", "A") },
		"execute bit":    func(r *repo) { r.do(os.Chmod(r.path("a"), 0o755)) },
		"no execute bit": func(r *repo) { r.do(os.Chmod(r.path("b"), 0o644)) },
		"removed":        func(r *repo) { r.do(os.Remove(r.path("sub/c"))) },
		"folder removed": func(r *repo) { r.do(os.RemoveAll(r.path("sub"))) },
		"link for file":  func(r *repo) { r.do(os.Remove(r.path("a"))); r.do(os.Symlink("b", r.path("a"))) },
		"link for folder": func(r *repo) {
			r.do(os.Rename(r.path("sub"), r.path("build")))
			r.do(os.Symlink("build", r.path("sub")))
		},
		"retargeted":     func(r *repo) { r.do(os.Remove(r.path("link"))); r.do(os.Symlink("sub/x", r.path("link"))) },
		"file for link":  func(r *repo) { r.do(os.Remove(r.path("link"))); r.write("link", "sub/c") },
		"untracked":      func(r *repo) { r.write("new", "") },
		"untracked deep": func(r *repo) { r.write("sub/deep/new", "") },
		"staged":         func(r *repo) { r.write("a", "x"); r.git("add", "a") },
		"staged and undone": func(r *repo) {
			r.write("a", "x")
			r.git("add", "a")
			r.write("a", "a")
		},
		"removed from the index": func(r *repo) { r.git("rm", "-q", "--cached", "a"); r.settle() },
		"intended":               func(r *repo) { r.write("new", "x"); r.git("add", "-N", "new"); r.settle() },
		"a conflict": func(r *repo) {
			r.git("checkout", "-qb", "other")
			r.write("a", "other")
			r.commit()
			r.git("checkout", "-q", "-")
			r.write("a", "mine")
			r.commit()
			_ = exec.Command("git", "-C", r.dir, "merge", "-q", "other").Run()
		},
		"a nested repository": func(r *repo) { r.git("init", "-q", "nested"); r.write("nested/x", "") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			commit := r.git("rev-parse", "HEAD")
			if name == "a conflict" {
				commit = ""
			}
			change(r)
			for _, seen := range [][]tree.Found{nil, {r.walk("")}} {
				if got, _ := r.ask("", seen...); !got.Dirty || commit != "" && got.Commit != commit {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// TestUnsure: what only git understands is left to git.
func TestUnsure(t *testing.T) {
	for name, prepare := range map[string]func(r *repo) (dirty bool){
		"assumed unchanged": func(r *repo) bool { r.git("update-index", "--assume-unchanged", "a"); r.write("a", "x"); return false },
		"skipped": func(r *repo) bool {
			r.git("update-index", "--skip-worktree", "a")
			r.do(os.Remove(r.path("a")))
			r.settle()
			return false
		},
		"a split index": func(r *repo) bool { r.git("update-index", "--split-index"); return false },
		"touched":       func(r *repo) bool { r.do(os.Chtimes(r.path("a"), time.Now(), time.Unix(1, 0))); return false },
		"racy": func(r *repo) bool {
			old := time.Unix(1, 0)
			r.do(os.Chtimes(r.path(".git/index"), old, old))
			return false
		},
		"modes that do not count": func(r *repo) bool {
			r.git("config", "core.fileMode", "false")
			r.do(os.Chmod(r.path("a"), 0o755))
			return false
		},
		"another working tree": func(r *repo) bool {
			other := r.t.TempDir()
			r.git("config", "core.worktree", other)
			return true
		},
		"a submodule": func(r *repo) bool {
			r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", newRepo(r.t).dir, "module")
			r.commit()
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			dirty := prepare(r)
			if got, quickly := r.ask(""); got.Dirty != dirty || quickly {
				t.Errorf("%+v, quickly %v", got, quickly)
			}
		})
	}
	t.Run("a linked working tree", func(t *testing.T) {
		r := newRepo(t)
		r.git("worktree", "add", "-q", "build/linked")
		if got, quickly := r.ask("build/linked"); got.Dirty || quickly {
			t.Errorf("%+v, quickly %v", got, quickly)
		}
	})
	t.Run("before the first commit", func(t *testing.T) {
		r := newRepo(t)
		r.git("checkout", "-q", "--orphan", "new")
		r.settle()
		if got, quickly := r.ask(""); got != (State{Dirty: true}) || quickly {
			t.Errorf("%+v, quickly %v", got, quickly)
		}
	})
}

// TestIndexChangesMeanwhile: what was asked before and after belongs together.
func TestIndexChangesMeanwhile(t *testing.T) {
	r := newRepo(t)
	q := Ask(t.Context(), Options{Dir: r.dir, Environ: os.Environ(), Large: 1})
	<-q.done
	r.write("a", "new")
	r.git("add", "a")
	r.settle()
	if got, err := q.Answer(t.Context()); err != nil || !got.Dirty {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRandomChanges compares with git status after each of many changes.
func TestRandomChanges(t *testing.T) {
	changes := 200
	if testing.Short() {
		changes = 40
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRepo(t)
	names := []string{"a", "b", "sub/c", "sub/deep/d", "sub.x", "z/e", "new", "sub/new", "x.ignored"}
	quick, clean := 0, 0
	for range changes {
		name := names[random.IntN(len(names))]
		switch random.IntN(8) {
		case 0, 1:
			r.write(name, fmt.Sprint(random.IntN(3)))
		case 2:
			_ = os.Remove(r.path(name))
		case 3:
			_ = os.Chmod(r.path(name), 0o755)
		case 4:
			r.git("checkout", "-q", "--", ".")
			r.git("clean", "-qfd")
		case 5:
			r.git("reset", "-q", "--hard")
			r.git("clean", "-qfd")
			r.settle()
		case 6:
			r.commit()
		case 7:
			r.git("status")
		}
		var seen []tree.Found
		if random.IntN(2) == 0 {
			seen = append(seen, r.walk(""))
		}
		state, quickly := r.ask("", seen...)
		if quickly {
			quick++
		}
		if !state.Dirty {
			clean++
		}
	}
	if quick == 0 || clean == 0 {
		t.Errorf("%d quick answers, %d clean ones", quick, clean)
	}
}

func TestNoRepository(t *testing.T) {
	q := Ask(t.Context(), Options{Dir: t.TempDir()})
	if s, err := q.Answer(t.Context()); s != nil || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// FuzzIndex: whatever stands in the file, reading it ends, and well.
func FuzzIndex(f *testing.F) {
	r := &repo{t: f, dir: f.TempDir()}
	r.git("init", "-q")
	r.write("a", "")
	r.write("ab", "")
	r.write("sub/c", "")
	r.git("add", "-A")
	for _, version := range []string{"2", "4"} {
		r.git("update-index", "--index-version", version)
		data, err := os.ReadFile(r.path(".git/index"))
		r.do(err)
		f.Add(data, 20)
	}
	f.Fuzz(func(t *testing.T, data []byte, hashSize int) {
		if hashSize != 20 && hashSize != 32 {
			return
		}
		n := 0
		err := readIndex(data, hashSize, func(entry) bool { n++; return true })
		if err != nil && !errors.Is(err, errUnsure) {
			t.Error(err)
		}
		if n > len(data)/62 {
			t.Errorf("%d entries of %d bytes", n, len(data))
		}
	})
}
