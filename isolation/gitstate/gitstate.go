// SPDX-License-Identifier: Apache-2.0

// Package gitstate says which commit the files of a git repository are of, and
// whether they are still as in that commit.
//
// Start with [Ask], which begins to ask git, and [Query.Answer]. A repository
// cannot make git run hooks or a file system monitor here, and nothing is
// written to it or fetched.
//
// An answer is good for as long as everything that git looked at for it looks
// as it did. With a place to remember it in, [Query.Answer] keeps an answer
// together with what that was (see witness.go), and the next Query need not
// start git when nothing has changed: it compares, mostly with what a run has
// seen of its files anyway. Where anything is different, or was not clearly at
// rest while git looked, or is of a kind that is not understood here, git is
// asked. Git's own clean filters are taken to be functions of a file's content,
// as git's index does.
package gitstate

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// Options say which repository is asked.
type Options struct {
	// Dir is the absolute path of a folder. It need not be in a repository.
	Dir string
	// Environ is the caller's environment, as os.Environ has it: it says who
	// the user is, for their settings of git. GIT_DIR and the like do not count.
	Environ []string
	// Memory is the absolute path of the file that the answer is remembered in;
	// empty remembers nothing. Nobody but the user may be able to write to it.
	Memory string
}

// State is what is known of the repository.
type State struct {
	Commit string // full object name; empty before the first commit
	Dirty  bool   // tracked files differ from the commit, or untracked ones stand beside them
}

// Query is a question to git, under way. It is safe for concurrent use: the first
// call of Hurry or Answer looks whether what is remembered holds, by what it was
// given. All get the same State, which none may change.
type Query struct {
	options  Options
	top      string // the folder that .git is in; empty where there is none
	git      string
	identity string // of the question
	memory   *memory

	begun, answered chan struct{}
	hurry           sync.Once

	before statcache.Moment // when git was asked
	status []byte           // what it said
	state  *State
	err    error
}

// Ask begins to ask: git where nothing of use is remembered, and otherwise
// nobody yet. Whoever calls it calls Answer as well.
func Ask(ctx context.Context, o Options) *Query {
	q := &Query{options: o, top: repository(o.Dir), begun: make(chan struct{}), answered: make(chan struct{})}
	go func() {
		defer close(q.begun)
		q.begin(ctx)
	}()
	return q
}

func (q *Query) begin(ctx context.Context) {
	if q.top == "" {
		return
	}
	var err error
	if q.git, err = exec.LookPath("git"); err != nil {
		q.err = errors.New("there is a git repository, but no git")
		return
	}
	if q.memory = q.recall(); q.memory == nil {
		q.ask(ctx)
	}
}

// ask asks git.
func (q *Query) ask(ctx context.Context) {
	args := []string{"status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z",
		"--untracked-files=normal", "--ignore-submodules=dirty"}
	if q.options.Memory != "" {
		args = append(args, "--ignored=matching")
		q.before, _ = statcache.ReadClock(filepath.Dir(q.options.Memory)) // without, nothing will be remembered
	}
	if q.status, q.err = q.run(ctx, q.options.Dir, args...); q.err == nil {
		q.state, q.err = parseStatus(q.status)
	}
}

// Hurry says that something is about to change files: what the answer hangs on
// is looked at now, while the caller goes on to whatever else comes before the
// change, and to Answer. seen is as for Answer.
func (q *Query) Hurry(ctx context.Context, seen ...tree.Found) {
	q.hurry.Do(func() {
		go func() {
			defer close(q.answered)
			<-q.begun
			if q.memory == nil {
				return
			}
			if q.memory.holds(ctx, q.options.Dir, seen) {
				q.state = &q.memory.state
				return
			}
			_ = os.Remove(q.options.Memory) // the next Query need not wait to see that
			q.ask(ctx)
		}()
	})
}

// Retention says whether an answer of git is worth remembering.
type Retention int

const (
	// Forget is for a caller that changes files: the answer will not hold.
	Forget Retention = iota
	// Remember keeps an answer that git had to be asked for.
	Remember
)

// Answer waits for the answer: nil where there is no repository. seen is what
// walks of Dir have found meanwhile, with paths relative to it. That an answer
// could not be remembered is no error.
func (q *Query) Answer(ctx context.Context, keep Retention, seen ...tree.Found) (*State, error) {
	q.Hurry(ctx, seen...)
	<-q.answered
	if keep == Remember && q.state != nil && q.status != nil {
		q.remember(ctx, seen)
	}
	return q.state, q.err
}
