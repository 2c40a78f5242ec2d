// SPDX-License-Identifier: Apache-2.0

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
)

// timeout bounds how long git may take for one question.
const timeout = 10 * time.Second

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

// variable returns the value of a variable that git is given; the last one
// counts, as for os/exec.
func (q *Query) variable(name string) (value string) {
	for _, v := range q.options.Environ {
		if n, val, ok := strings.Cut(v, "="); ok && n == name {
			value = val
		}
	}
	return value
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
	for kind, text := range records(out) {
		oid, ok := strings.CutPrefix(text, "# branch.oid ")
		switch {
		case ok:
			found = true
			if oid != "(initial)" {
				s.Commit = oid
			}
		case kind != '#' && kind != '!':
			s.Dirty = true
		}
	}
	if !found {
		return nil, errors.New("git status did not name a commit")
	}
	return &s, nil
}

// records yields the records of git status -z, and the first letter of each.
func records(out []byte) func(yield func(kind byte, record string) bool) {
	return func(yield func(byte, string) bool) {
		for rest := string(out); rest != ""; {
			var text string
			text, rest, _ = strings.Cut(rest, "\x00")
			if text == "" {
				continue
			}
			if text[0] == '2' { // renamed or copied: its old name follows
				_, rest, _ = strings.Cut(rest, "\x00")
			}
			if !yield(text[0], text) {
				return
			}
		}
	}
}
