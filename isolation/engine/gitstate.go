// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
)

// startSource begins to ask git for the state of the project's repository and
// returns a function that waits for the answer: nil where there is none. What
// kept git from answering is told to warn.
func startSource(ctx context.Context, dir string, environ []string, warn func(string)) func() *receipt.Source {
	answer := make(chan *receipt.Source, 1)
	go func() {
		src, err := gitState(ctx, dir, environ)
		if err != nil && ctx.Err() == nil {
			warn("the receipt will not name a commit: " + err.Error())
		}
		answer <- src
	}()
	return sync.OnceValue(func() *receipt.Source { return <-answer })
}

// gitTimeout bounds how long a run waits for git.
const gitTimeout = 10 * time.Second

// gitState asks git, in such a way that the repository cannot make it run
// hooks or a file system monitor, and that it neither writes nor fetches.
func gitState(ctx context.Context, dir string, environ []string) (*receipt.Source, error) {
	if !inRepository(dir) {
		return nil, nil
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, errors.New("there is a git repository, but no git")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, gitTimeout, fmt.Errorf("git did not answer within %v", gitTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, git,
		"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks",
		"status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty")
	cmd.Dir = dir
	cmd.Env = gitEnv(environ)
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
	return parseStatus(out)
}

// gitEnv is what git needs of the caller's environment: who the user is, for
// their own configuration. GIT_DIR and the like are not let through.
func gitEnv(environ []string) []string {
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

// inRepository looks for .git in dir and above.
func inRepository(dir string) bool {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		above := filepath.Dir(dir)
		if above == dir {
			return false
		}
		dir = above
	}
}

// parseStatus reads git status --porcelain=v2 --branch -z.
func parseStatus(out []byte) (*receipt.Source, error) {
	var src receipt.Source
	found := false
	for _, record := range bytes.Split(out, []byte{0}) {
		text := string(record)
		switch {
		case strings.HasPrefix(text, "# branch.oid "):
			found = true
			if oid := strings.TrimPrefix(text, "# branch.oid "); oid != "(initial)" {
				src.Commit = oid
			}
		case text != "" && !strings.HasPrefix(text, "# "):
			src.Dirty = true
		}
	}
	if !found {
		return nil, errors.New("git status did not name a commit")
	}
	return &src, nil
}
