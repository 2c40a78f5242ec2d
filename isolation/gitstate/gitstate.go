// SPDX-License-Identifier: Apache-2.0

// Package gitstate says which commit the files of a git repository are of, and
// whether they are still as in that commit.
//
// Start with [Ask], which begins to ask git, and [Query.Answer]. A repository
// cannot make git run hooks or a file system monitor here, and nothing is
// written or fetched.
//
// Of a large repository, `git status` asks the file system for every file, and
// so has a run already for most of them. Where the index of such a repository
// shows that nothing has changed since git last looked, that is the answer; in
// every other case git status gives it. See quick.go.
package gitstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// Options say which repository is asked.
type Options struct {
	// Dir is the absolute path of a folder. It need not be in a repository.
	Dir string
	// Environ is the caller's environment, as os.Environ has it: it says who
	// the user is, for their settings of git. GIT_DIR and the like do not count.
	Environ []string
	// Large is the size of an index, in bytes, from which on git status is
	// done without where possible; 0 means 1 MiB, some ten thousand files.
	Large int64
}

// State is what is known of the repository.
type State struct {
	Commit string // full object name; empty before the first commit
	Dirty  bool   // tracked files differ from the commit, or untracked ones stand beside them
}

// Query is a question to git, under way.
type Query struct {
	options Options
	top     string // the folder that .git is in; empty where there is none
	git     string
	done    chan struct{}
	quick   *quick // nil where git status is asked at once

	state *State
	err   error
}

// timeout bounds how long git may take for one question.
const timeout = 10 * time.Second

// Ask begins to ask. Whoever calls it calls Answer as well.
func Ask(ctx context.Context, o Options) *Query {
	if o.Large == 0 {
		o.Large = 1 << 20
	}
	q := &Query{options: o, top: repository(o.Dir), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.ask(ctx)
	}()
	return q
}

func (q *Query) ask(ctx context.Context) {
	if q.top == "" {
		return
	}
	var err error
	if q.git, err = exec.LookPath("git"); err != nil {
		q.err = errors.New("there is a git repository, but no git")
		return
	}
	if q.quick = q.startQuick(ctx); q.quick == nil {
		q.state, q.err = q.status(ctx)
	}
}

// Answer waits for the answer: nil where there is no repository. seen is what
// walks of Dir have found meanwhile, with paths relative to it.
func (q *Query) Answer(ctx context.Context, seen ...tree.Found) (*State, error) {
	<-q.done
	if q.quick == nil {
		return q.state, q.err
	}
	if state := q.quick.answer(ctx, seen); state != nil {
		return state, nil
	}
	return q.status(ctx)
}

// status asks git for everything.
func (q *Query) status(ctx context.Context) (*State, error) {
	out, err := q.run(ctx, q.options.Dir,
		"status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty")
	if err != nil {
		return nil, err
	}
	return parseStatus(out)
}

// run runs git in a folder, and returns what it printed.
func (q *Query) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("git did not answer within %v", timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, q.git,
		append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks"}, args...)...)
	cmd.Dir = dir
	cmd.Env = environment(q.options.Environ)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("asking git: %w: %s", err, line)
	}
	return out, nil
}

// environment is what git needs of the caller's: who the user is, for their own
// configuration.
func environment(environ []string) []string {
	env := []string{"LC_ALL=C", "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0"}
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PATH", "HOME", "XDG_CONFIG_HOME", "USER":
			env = append(env, v)
		}
	}
	return env
}

// repository looks for .git in dir and above, and returns the folder it is in.
func repository(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			return ""
		}
		dir = above
	}
}

// parseStatus reads git status --porcelain=v2 --branch -z.
func parseStatus(out []byte) (*State, error) {
	var s State
	found := false
	for _, record := range bytes.Split(out, []byte{0}) {
		text := string(record)
		switch {
		case strings.HasPrefix(text, "# branch.oid "):
			found = true
			if oid := strings.TrimPrefix(text, "# branch.oid "); oid != "(initial)" {
				s.Commit = oid
			}
		case text != "" && !strings.HasPrefix(text, "# "):
			s.Dirty = true
		}
	}
	if !found {
		return nil, errors.New("git status did not name a commit")
	}
	return &s, nil
}
