// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// TestRemembered: repositories of which git need be asked only once.
func TestRemembered(t *testing.T) {
	for name, prepare := range map[string]func(r *repo){
		"as it is":          func(*repo) {},
		"ignored files":     func(r *repo) { r.write("x.ignored", ""); r.write("build/x", ""); r.write("only/x.ignored", "") },
		"ignored by itself": func(r *repo) { r.write("own/.gitignore", "*\n"); r.write("own/deep/x", "") },
		"an empty folder":   func(r *repo) { r.do(os.MkdirAll(r.path("empty/deep"), 0o755)) },
		"long names":        func(r *repo) { r.write(strings.Repeat("x", 250), ""); r.write("\n\t\"é", ""); r.commit() },
		"packed references": func(r *repo) { r.git("pack-refs", "--all") },
		"a detached head":   func(r *repo) { r.git("checkout", "-q", "--detach") },
		"version 4":         func(r *repo) { r.git("update-index", "--index-version", "4") },
		"tracked in spite": func(r *repo) {
			r.write("build/t", "")
			r.git("add", "-f", "build/t")
			r.git("commit", "-qm", "t")
			r.write("build/x/y", "")
		},
		"settings": func(r *repo) {
			r.write("~/.gitconfig", "[core]\n\texcludesFile = ~/excludes\n[include]\n\tpath = more\n")
			r.write("~/excludes", "*.mine\n")
			r.write("x.mine", "")
		},
		"changed":           func(r *repo) { r.write("a", "x") },
		"staged":            func(r *repo) { r.write("a", "x"); r.git("add", "a") },
		"renamed":           func(r *repo) { r.git("mv", "a", "! a") },
		"removed":           func(r *repo) { r.do(os.Remove(r.path("a"))) },
		"a folder removed":  func(r *repo) { r.do(os.RemoveAll(r.path("sub"))) },
		"a file for it":     func(r *repo) { r.do(os.RemoveAll(r.path("sub"))); r.write("sub", "") },
		"an untracked file": func(r *repo) { r.write("sub/new", "") },
		"before the first commit": func(r *repo) {
			r.git("checkout", "-q", "--orphan", "new")
		},
		"a conflict": func(r *repo) {
			r.git("checkout", "-qb", "other")
			r.write("a", "other")
			r.commit()
			r.git("checkout", "-q", "-")
			r.write("a", "mine")
			r.commit()
			_, _ = r.tryGit("merge", "-q", "other")
		},
		"modes that do not count": func(r *repo) {
			r.git("config", "core.fileMode", "false")
			r.do(os.Chmod(r.path("a"), 0o755))
		},
		"assumed unchanged": func(r *repo) { r.git("update-index", "--assume-unchanged", "a"); r.write("a", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			prepare(r)
			for i, dir := range []string{"", "z", ""} {
				var seen []tree.Found
				if i > 0 {
					seen = []tree.Found{{}, r.walk(dir), r.walk(dir)}
				}
				_ = os.Remove(r.memory)
				r.rest()
				first, _ := r.ask(dir, seen...)
				second, remembered := r.ask(dir, seen...)
				if first != second || !remembered {
					t.Errorf("in %q with %d walks: %+v, then %+v, remembered %v", dir, len(seen), first, second, remembered)
				}
			}
		})
	}
	t.Run("SHA-256", func(t *testing.T) {
		r := newRepo(t, "--object-format=sha256")
		r.rest()
		r.ask("")
		if got, remembered := r.ask(""); got.Dirty || len(got.Commit) != 64 || !remembered {
			t.Errorf("%+v, %v", got, remembered)
		}
	})
}

// TestNotRemembered: what the answer hangs on there, only git can tell.
func TestNotRemembered(t *testing.T) {
	for name, prepare := range map[string]func(r *repo){
		"an untracked folder": func(r *repo) { r.write("new/x", "") },
		"a nested repository": func(r *repo) { r.git("init", "-q", "nested") },
		"one in a folder":     func(r *repo) { r.git("init", "-q", "empty/nested") },
		"a special file":      func(r *repo) { r.do(os.Mkdir(r.path("new"), 0o755)); r.do(syscall.Mkfifo(r.path("new/pipe"), 0o644)) },
		"a split index":       func(r *repo) { r.git("update-index", "--split-index") },
		"a sparse checkout":   func(r *repo) { r.git("sparse-checkout", "set", "sub") },
		"a link to rules": func(r *repo) {
			r.write("rules", "x\n")
			r.commit()
			r.do(os.Symlink("../rules", r.path("sub/.gitignore")))
		},
		"a setting for another":  func(r *repo) { r.write("~/.gitconfig", "[core]\n\texcludesFile = ~root/x\n") },
		"a setting for anywhere": func(r *repo) { r.git("config", "core.excludesFile", "relative") },
		"another working tree": func(r *repo) {
			other := r.t.TempDir()
			r.git("config", "core.worktree", other)
		},
		"a submodule": func(r *repo) {
			r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", newRepo(r.t).dir, "module")
			r.commit()
		},
		"a branch that names a branch": func(r *repo) {
			r.git("symbolic-ref", "refs/heads/x", "refs/heads/y")
			r.git("symbolic-ref", "HEAD", "refs/heads/x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			prepare(r)
			r.rest()
			r.ask("")
			if _, remembered := r.ask(""); remembered {
				t.Error("it was remembered")
			}
		})
	}
	t.Run("a linked working tree", func(t *testing.T) {
		r := newRepo(t)
		r.git("worktree", "add", "-q", "build/linked")
		r.rest()
		r.ask("build/linked")
		if _, remembered := r.ask("build/linked"); remembered {
			t.Error("it was remembered")
		}
	})
	t.Run("for a caller that changes files", func(t *testing.T) {
		r := newRepo(t)
		r.rest()
		if _, err := r.query("").Answer(t.Context(), Forget); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(r.memory); !os.IsNotExist(err) {
			t.Error(err)
		}
	})
}

// changes are what may happen to a repository whose state is remembered.
var changes = map[string]func(r *repo){
	"content":        func(r *repo) { r.write("a", "longer") },
	"same size":      func(r *repo) { r.write("a", "A") },
	"looks the same": func(r *repo) { rewrite(r, "a", "B") },
	"execute bit":    func(r *repo) { r.do(os.Chmod(r.path("a"), 0o755)) },
	"no execute bit": func(r *repo) { r.do(os.Chmod(r.path("b"), 0o644)) },
	"removed":        func(r *repo) { r.do(os.Remove(r.path("sub/c"))) },
	"renamed":        func(r *repo) { r.do(os.Rename(r.path("a"), r.path("aa"))) },
	"folder removed": func(r *repo) { r.do(os.RemoveAll(r.path("sub"))) },
	"folder renamed": func(r *repo) { r.do(os.Rename(r.path("sub"), r.path("sub2"))) },
	"link for file":  func(r *repo) { r.do(os.Remove(r.path("a"))); r.do(os.Symlink("b", r.path("a"))) },
	"link for folder": func(r *repo) {
		r.do(os.Rename(r.path("sub"), r.path("build/sub")))
		r.do(os.Symlink("build/sub", r.path("sub")))
	},
	"retargeted":            func(r *repo) { r.do(os.Remove(r.path("link"))); r.do(os.Symlink("sub/x", r.path("link"))) },
	"file for link":         func(r *repo) { r.do(os.Remove(r.path("link"))); r.write("link", "sub/c") },
	"untracked":             func(r *repo) { r.write("new", "") },
	"untracked deep":        func(r *repo) { r.write("sub/deep/new", "") },
	"untracked folder":      func(r *repo) { r.write("new/new", "") },
	"in an empty folder":    func(r *repo) { r.write("empty/deep/new", "") },
	"beside ignored ones":   func(r *repo) { r.write("only/new", "") },
	"in an ignoring folder": func(r *repo) { r.do(os.Remove(r.path("own/.gitignore"))) },
	"a nested repository":   func(r *repo) { r.git("init", "-q", "nested"); r.write("nested/x", "") },
	"staged":                func(r *repo) { r.write("a", "x"); r.git("add", "a") },
	"staged and undone": func(r *repo) {
		r.write("a", "x")
		r.git("add", "a")
		r.write("a", "a")
	},
	"out of the index":     func(r *repo) { r.git("rm", "-q", "--cached", "a") },
	"intended":             func(r *repo) { r.write("new", "x"); r.git("add", "-N", "new") },
	"another commit":       func(r *repo) { r.git("commit", "-qm", "2", "--allow-empty") },
	"amended":              func(r *repo) { r.git("commit", "-q", "--amend", "-m", "other") },
	"another branch":       func(r *repo) { r.git("checkout", "-q", "other") },
	"a branch was moved":   func(r *repo) { r.git("update-ref", "HEAD", r.git("rev-parse", "other")) },
	"a packed one was":     func(r *repo) { r.git("pack-refs", "--all"); r.git("update-ref", "HEAD", r.git("rev-parse", "other")) },
	"replaced":             func(r *repo) { r.git("replace", r.git("rev-parse", "HEAD"), r.git("rev-parse", "other")) },
	"rules":                func(r *repo) { r.write(".gitignore", "") },
	"rules ignored too":    func(r *repo) { r.write("own/.gitignore", "/.gitignore\n") },
	"rules of the user":    func(r *repo) { r.write("~/.config/git/ignore", "") },
	"new rules":            func(r *repo) { r.write(".git/info/exclude", "/z\n!x.ignored\n") },
	"rules gone":           func(r *repo) { r.do(os.Remove(r.path("~/.config/git/ignore"))) },
	"attributes":           func(r *repo) { r.write(".git/info/attributes", "* text\n"); r.write("a", "a") },
	"settings":             func(r *repo) { r.write("~/.gitconfig", "[core]\n\texcludesFile = /dev/null\n") },
	"settings elsewhere":   func(r *repo) { r.write("~/.config/git/config", "[core]\n\texcludesFile = ~/none\n") },
	"included settings":    func(r *repo) { r.write("~/more", "[core]\n\texcludesFile = ~/none\n") },
	"the repository's own": func(r *repo) { r.git("config", "core.excludesFile", "/dev/null") },
	"another repository": func(r *repo) {
		r.do(os.Rename(r.path(".git"), filepath.Join(r.t.TempDir(), "git")))
		r.git("init", "-q")
	},
}

// rewrite writes a file of which only the system can tell that it was written.
func rewrite(r *repo, name, content string) {
	info, err := os.Lstat(r.path(name))
	r.do(err)
	r.write(name, content)
	r.do(os.Chtimes(r.path(name), info.ModTime(), info.ModTime()))
}

// varied is a repository with something of everything.
func varied(t testing.TB) *repo {
	r := newRepo(t)
	r.git("checkout", "-qb", "other")
	r.write("a", "O")
	r.commit()
	r.git("checkout", "-q", "-")
	r.write("x.ignored", "")
	r.write("build/x", "")
	r.write("only/x.ignored", "")
	r.write("own/.gitignore", "*\n")
	r.write("own/x", "")
	r.write("~/.config/git/ignore", "*.mine\n")
	r.write("~/.gitconfig", "[include]\n\tpath = ~/more\n")
	r.write("x.mine", "")
	r.do(os.MkdirAll(r.path("empty/deep"), 0o755))
	return r
}

// known has git asked for the state of the repository, so that it is remembered.
func (r *repo) known() *repo {
	r.t.Helper()
	r.rest()
	if s, err := r.query("").Answer(context.Background(), Remember); err != nil || s.Dirty {
		r.t.Fatalf("%+v, %v", s, err)
	}
	if _, err := os.Lstat(r.memory); err != nil {
		r.t.Fatal("it is not remembered:", err)
	}
	return r
}

// TestEveryChangeIsSeen makes each change to a repository whose state is
// remembered.
func TestEveryChangeIsSeen(t *testing.T) {
	template := varied(t)
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for _, walks := range []bool{false, true} {
				r := template.copy(t).known()
				change(r)
				var seen []tree.Found
				if walks {
					seen = append(seen, r.walk(""))
				}
				if _, remembered := r.ask("", seen...); remembered {
					t.Error("it was not noticed")
				}
			}
		})
	}
}

// TestRandomEdits compares with git after each of many changes. What git
// refuses, as it does a commit while a stash that was popped is in conflict,
// changes nothing and is asked about all the same.
func TestRandomEdits(t *testing.T) {
	edits := 150
	if testing.Short() {
		edits = 40
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := varied(t).known()
	names := []string{"a", "b", "sub/c", "sub/deep/d", "sub.x", "z/e", "new", "sub/new", "x.ignored", "only/y.ignored",
		"x.mine", "build/x", "empty/deep/x", "own/x", "own/.gitignore", "sub/.gitignore", ".git/info/exclude"}
	actions := []func(name string){
		func(name string) { r.write(name, fmt.Sprint(random.IntN(3))) },
		func(name string) {
			if info, err := os.Lstat(r.path(name)); err == nil && info.Mode().IsRegular() {
				rewrite(r, name, strings.Repeat("!", int(info.Size())))
			}
		},
		func(name string) { _ = os.Remove(r.path(name)) },
		func(name string) { _ = os.Chmod(r.path(name), os.FileMode(0o644+random.IntN(2)*0o111)) },
		func(name string) { _ = os.Rename(r.path(name), r.path(names[random.IntN(len(names))])) },
		func(string) {
			_ = os.Remove(r.path("link"))
			_ = os.Symlink(fmt.Sprint(random.IntN(2)), r.path("link"))
		},
		func(string) { _ = os.Mkdir(r.path(fmt.Sprintf("z/%d", random.IntN(3))), 0o755) },
		func(string) { _ = os.Remove(r.path(fmt.Sprintf("z/%d", random.IntN(3)))) },
		func(name string) { _, _ = r.tryGit("add", name) },
		func(string) { r.commit() },
		func(string) {
			_, _ = r.tryGit("commit", "-q", "--amend", "--allow-empty", "-m", fmt.Sprint(random.IntN(9)))
		},
		func(string) { _, _ = r.tryGit("stash") },
		func(string) { _, _ = r.tryGit("stash", "pop") },
		func(string) { r.git("reset", "-q", "--hard"); r.git("clean", "-qfd") },
		func(string) { r.git("reset", "-q") },
		func(string) { _, _ = r.tryGit("checkout", "-q", "-f", "other") },
		func(string) { _, _ = r.tryGit("checkout", "-q", "--detach") },
		func(string) { r.git("pack-refs", "--all") },
		func(string) { r.git("status") },
		func(string) { r.write("~/.config/git/ignore", fmt.Sprintf("*.mine\n%d\nnew\n", random.IntN(3))) },
		func(string) { r.write("~/.gitconfig", fmt.Sprintf("[core]\nexcludesFile = ~/e%d\n", random.IntN(3))) },
		func(string) { r.write(fmt.Sprintf("~/e%d", random.IntN(3)), names[random.IntN(len(names))]+"\n") },
		func(string) {}, func(string) {}, func(string) {},
	}
	remembered, clean := 0, 0
	for range edits {
		action := random.IntN(len(actions))
		actions[action](names[random.IntN(len(names))])
		if random.IntN(2) == 0 {
			r.rest()
		}
		var seen []tree.Found
		if random.IntN(3) > 0 {
			seen = append(seen, r.walk(""))
		}
		state, was := r.ask("", seen...)
		if was {
			remembered++
		}
		if !state.Dirty {
			clean++
		}
	}
	t.Logf("%d answers were remembered, %d were clean", remembered, clean)
	if remembered == 0 || clean == 0 {
		t.Errorf("%d remembered answers, %d clean ones", remembered, clean)
	}
}

// TestChangedMeanwhile changes files while git looks: before it does, when it
// has looked but not yet ended, when it says how the repository is kept; and
// for as long as git looks, no longer.
func TestChangedMeanwhile(t *testing.T) {
	template := varied(t)
	for _, change := range []struct{ do, undo string }{
		{"echo A >a", "printf a >a"},
		{"printf A >a; touch -r b a", "printf a >a; touch -r b a"},
		{"rm a", "printf a >a"},
		{"echo >new", "rm new"},
		{"echo >empty/deep/new", "rm empty/deep/new"},
		{"mkdir nested; echo >nested/x", "rm -r nested"},
		{"echo '*' >.gitignore", ""},
		{"echo '!x.ignored' >>.git/info/exclude", "echo >.git/info/exclude"},
		{"$git commit -qm 2 --allow-empty", "$git reset -q --soft HEAD~"},
		{"chmod +x a", "chmod -x a"},
		{"printf '[core]\nexcludesFile=~/none\n' >$HOME/.gitconfig", ""},
		{"printf '[core]\nexcludesFile=~/none\n' >$HOME/.config/git/config", "rm $HOME/.config/git/config"},
		{"printf '[core]\nexcludesFile=~/none\n' >$HOME/more", "rm $HOME/more"},
		{"echo >$HOME/.config/git/ignore", "echo '*.mine' >$HOME/.config/git/ignore"},
		{"echo /x >own/.gitignore", "rm own/x"},
	} {
		moments := []string{"during status", "after ls-files", "before status", "after status", "after config"}
		if testing.Short() {
			moments = moments[:2]
		}
		for _, when := range moments {
			t.Run(change.do+" "+when, func(t *testing.T) {
				order, command, _ := strings.Cut(when, " ")
				before, after := change.do, ":"
				switch order {
				case "after":
					before, after = ":", change.do
				case "during":
					before, after = change.do, cmp.Or(change.undo, ":")
				}
				template.copy(t).askMeddled(command, before, after)
			})
		}
	}
}

// askMeddled asks a git that does something before it looks and something else
// after, for a command of it. What is remembered then must be the truth for as
// long as it holds.
func (r *repo) askMeddled(command, before, after string) {
	r.t.Helper()
	git, err := exec.LookPath("git")
	r.do(err)
	r.rest()
	bin, path := r.t.TempDir(), os.Getenv("PATH")
	script := fmt.Sprintf(`#!/bin/sh
export HOME='%s' GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b git='%s'
case " $* " in *' %s '*) ;; *) exec $git "$@";; esac
(cd '%s' && { %s; }) >&2
$git "$@"; code=$?
(cd '%s' && { %s; }) >&2
exit $code
`, r.home, git, command, r.dir, before, r.dir, after)
	r.do(os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	r.do(os.Setenv("PATH", bin+":"+path))
	_, err = r.query("").Answer(context.Background(), Remember)
	r.do(os.Setenv("PATH", path))
	r.do(err)
	data, err := os.ReadFile(r.memory)
	if err != nil {
		return // as it should be
	}
	m, err := parse(data)
	r.do(err)
	if truth := r.truth(); m.state != truth && m.holds(context.Background(), r.dir, nil) {
		r.t.Errorf("%+v is remembered of a repository that git says is %+v", m.state, truth)
	}
}

// TestHurry: the answer is that from before the change.
func TestHurry(t *testing.T) {
	for _, known := range []bool{false, true} {
		r := varied(t)
		if known {
			r.known()
		}
		q := r.query("")
		q.Hurry(t.Context())
		q.Hurry(t.Context())
		<-q.answered
		r.write("a", "new")
		if got, err := q.Answer(t.Context(), Remember); err != nil || got.Dirty || q.status == nil != known {
			t.Errorf("%+v, %v", got, err)
		}
		if got, _ := r.ask(""); !got.Dirty {
			t.Errorf("%+v", got)
		}
	}
}

// TestForgotten: a memory that does not hold is no reason for the next question
// to wait.
func TestForgotten(t *testing.T) {
	r := varied(t).known()
	r.write("a", "new")
	if got, err := r.query("").Answer(t.Context(), Forget); err != nil || !got.Dirty {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := os.Lstat(r.memory); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// TestAnotherQuestion: what is remembered is the answer to one question.
func TestAnotherQuestion(t *testing.T) {
	template, other := varied(t), newRepo(t)
	for name, change := range map[string]func(r *repo) (dir string){
		"another user's settings":     func(r *repo) string { r.home = t.TempDir(); return "" },
		"another repository":          func(r *repo) string { r.dir = other.dir; return "" },
		"a repository of the project": func(r *repo) string { r.git("init", "-q", "build"); return "build" },
	} {
		r := template.copy(t).known()
		q := r.query(change(r))
		if _, err := q.Answer(t.Context(), Remember); err != nil || q.status == nil {
			t.Errorf("%s: it was remembered; %v", name, err)
		}
	}
}

// TestDamage: whatever happens to the file, it is as if there were none.
func TestDamage(t *testing.T) {
	r := varied(t).known()
	whole, err := os.ReadFile(r.memory)
	r.do(err)
	wrong := func(what string) {
		t.Helper()
		q := r.query("")
		<-q.begun
		if q.memory != nil {
			t.Errorf("%s: it was used", what)
		}
		if s, err := q.Answer(t.Context(), Forget); err != nil || s.Dirty {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/20 {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 1
		r.do(os.WriteFile(r.memory, flipped, 0o644))
		wrong(fmt.Sprint("flipped at ", i))
		r.do(os.WriteFile(r.memory, whole[:i], 0o644))
		wrong(fmt.Sprint("cut at ", i))
	}
	r.do(os.WriteFile(r.memory, append(whole[:len(whole):len(whole)], 0), 0o644))
	wrong("longer")
	r.do(os.WriteFile(r.memory, whole, 0o644))
	r.do(os.Chmod(r.memory, 0o666))
	wrong("others may write")
	r.do(os.Chmod(r.memory, 0o644))
	if os.Geteuid() == 0 {
		r.do(os.Chown(r.memory, 12345, 12345))
		wrong("another user's")
		r.do(os.Chown(r.memory, 0, 0))
	}
	r.do(os.Rename(r.memory, r.memory+"-"))
	r.do(os.Symlink(r.memory+"-", r.memory))
	wrong("a link")
	r.do(os.Remove(r.memory))
	r.do(os.Rename(r.memory+"-", r.memory))
	if _, remembered := r.ask(""); !remembered {
		t.Error("the whole one was not used")
	}
}

// TestSweep: what was remembered of projects that are gone does not stay.
func TestSweep(t *testing.T) {
	r := newRepo(t)
	dir := filepath.Dir(r.memory)
	old, kept := filepath.Join(dir, "old.gitstate"), filepath.Join(dir, "old.digests")
	for _, p := range []string{old, kept} {
		r.do(os.WriteFile(p, nil, 0o644))
		long := time.Now().Add(-forget - time.Hour)
		r.do(os.Chtimes(p, long, long))
	}
	r.rest()
	r.ask("")
	if _, err := os.Lstat(old); !os.IsNotExist(err) {
		t.Error("the old one is still there")
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
}

func TestNoRepository(t *testing.T) {
	q := Ask(t.Context(), Options{Dir: t.TempDir(), Memory: filepath.Join(t.TempDir(), "m")})
	if s, err := q.Answer(t.Context(), Remember); s != nil || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestNowhereToRemember: that is no reason not to answer.
func TestNowhereToRemember(t *testing.T) {
	r := newRepo(t)
	file := filepath.Join(t.TempDir(), "file")
	r.do(os.WriteFile(file, nil, 0o644))
	r.memory = filepath.Join(file, "memory")
	for range 2 {
		if _, remembered := r.ask(""); remembered {
			t.Error("remembered")
		}
	}
}

// FuzzParse: whatever stands in the file, reading it ends, and what is read is
// what would be written.
func FuzzParse(f *testing.F) {
	m := &memory{identity: "i", state: State{Commit: "c", Dirty: true},
		outside: newTable([]witness{{path: "/a"}}),
		files:   newTable([]witness{{"a", tree.Stat{Dev: 1, Inode: 2, Size: 3, Mode: 4, Mtime: 5, Ctime: 6}}, {path: "bc"}})}
	data, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:len(data)-32])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := digestOf(body)
		m, err := parse(append(body[:len(body):len(body)], sum...))
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || string(again) != string(body)+string(sum) {
			t.Errorf("%d bytes came back as %d, %v", len(body)+len(sum), len(again), err)
		}
		for _, table := range m.tables() {
			for i := range table.len() {
				_, _ = table.path(i), table.stat(i)
			}
		}
	})
}

// BenchmarkHolds compares 100,000 files with what ten walks have seen.
func BenchmarkHolds(b *testing.B) {
	var walks []tree.Found
	var list []witness
	for i := range 10 {
		var found tree.Found
		for k := range 10_000 {
			p := fmt.Sprintf("pkg%d/src/d%03d/f%05d.js", i, k/100, k)
			s := tree.Stat{Dev: 1, Inode: uint64(i*10_000 + k), Size: 4096, Mode: uint32(fs.ModePerm), Mtime: 1, Ctime: 2}
			found.Entries, found.Stats = append(found.Entries, tree.Entry{Path: p}), append(found.Stats, s)
			list = append(list, witness{p, s})
		}
		walks = append(walks, found)
	}
	m := &memory{identity: "/top\x00", files: newTable(list)}
	data, err := m.encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := parse(data)
		if err != nil || !m.holds(b.Context(), "/top", walks) {
			b.Fatal("it does not hold")
		}
	}
}
