// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"path/filepath"
	"slices"
	"sync"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/gitstate"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// repository is the one that the project's files are of. Its state is that from
// before the run changed anything.
type repository struct {
	run   *run
	query *gitstate.Query
	once  sync.Once
	state *receipt.Source
}

// startSource begins to ask for the state. It is remembered beside the digests
// of files, where no step can write.
func (r *run) startSource(ctx context.Context) *repository {
	o := gitstate.Options{Dir: r.Root, Environ: r.Environ}
	if r.keeper.store != nil {
		o.Memory = filepath.Join(r.CacheDir, inputsDir, statcache.FileName(r.Root, "gitstate"))
	}
	s := &repository{run: r, query: gitstate.Ask(ctx, o)}
	if r.keeper.store == nil || slices.ContainsFunc(r.Plan.Steps, func(step plan.Step) bool { return !step.Cache }) {
		s.hurry(ctx)
	}
	return s
}

// hurry says that the run will change something.
func (s *repository) hurry(ctx context.Context) { s.query.Hurry(ctx, s.run.files.seen()...) }

// before waits for the state, for a caller that is about to change files.
func (s *repository) before(ctx context.Context) { s.get(ctx, gitstate.Forget) }

// get waits for the state, and returns nil where there is none. What kept git
// from answering is a warning.
func (s *repository) get(ctx context.Context, keep gitstate.Retention) *receipt.Source {
	s.once.Do(func() {
		state, err := s.query.Answer(ctx, keep, s.run.files.seen()...)
		if err != nil && ctx.Err() == nil {
			s.run.warn("the receipt will not name a commit: " + err.Error())
		}
		if state != nil {
			s.state = &receipt.Source{Commit: state.Commit, Dirty: state.Dirty}
		}
	})
	return s.state
}
