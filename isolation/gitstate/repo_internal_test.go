// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// repo is a git repository of a test, of a user with settings of their own.
type repo struct {
	t      testing.TB
	dir    string
	home   string
	memory string
}

func newRepo(t testing.TB, initial ...string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("these tests need git")
	}
	r := &repo{t: t, dir: t.TempDir(), home: t.TempDir(), memory: filepath.Join(t.TempDir(), "project.gitstate")}
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

// copy is a repository like r of which nothing is remembered. git looks at
// everything in it anew.
func (r *repo) copy(t testing.TB) *repo {
	t.Helper()
	c := &repo{t: t, dir: t.TempDir(), home: t.TempDir(), memory: filepath.Join(t.TempDir(), "project.gitstate")}
	c.do(os.CopyFS(c.dir, os.DirFS(r.dir)))
	c.do(os.CopyFS(c.home, os.DirFS(r.home)))
	return c
}

// path is that of a file in the repository, or in the user's folder.
func (r *repo) path(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return filepath.Join(r.home, rest)
	}
	return filepath.Join(r.dir, filepath.FromSlash(name))
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	r.do(os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	r.do(os.WriteFile(r.path(name), []byte(content), 0o644))
}

// commit commits everything.
func (r *repo) commit() {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-qm", "x", "--allow-empty")
}

func (r *repo) environ() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"}
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	out, err := r.tryGit(args...)
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func (r *repo) tryGit(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = r.dir, r.environ()
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// rest lets a moment pass, so that all changes lie clearly behind.
func (r *repo) rest() { time.Sleep(2 * time.Duration(20*time.Millisecond)) }

func (r *repo) query(dir string) *Query {
	return Ask(context.Background(), Options{Dir: filepath.Join(r.dir, dir), Environ: r.environ(), Memory: r.memory})
}

// ask asks about a folder, and wants what plain git says. It reports whether
// that was remembered.
func (r *repo) ask(dir string, seen ...tree.Found) (state State, remembered bool) {
	r.t.Helper()
	q := r.query(dir)
	s, err := q.Answer(context.Background(), Remember, seen...)
	if err != nil || s == nil {
		r.t.Fatalf("%v, %v", s, err)
	}
	if want := r.truth(); *s != want {
		r.t.Fatalf("the answer is %+v, git says %+v: %s", *s, want, r.git("status", "--porcelain"))
	}
	return *s, q.status == nil
}

// truth is what git says, without any options of this package.
func (r *repo) truth() State {
	r.t.Helper()
	commit, _ := r.tryGit("rev-parse", "--verify", "-q", "HEAD")
	return State{Commit: commit, Dirty: r.git("--no-optional-locks", "status", "--porcelain", "--untracked-files=normal") != ""}
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

func digestOf(data []byte) []byte {
	sum := digest.Of(data).Bytes()
	return sum[:]
}
