// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"sync"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/gitstate"
)

// startSource begins to ask git for the state of the project's repository and
// returns a function that waits for the answer: nil where there is none. What
// kept git from answering is a warning.
func (r *run) startSource(ctx context.Context) func() *receipt.Source {
	query := gitstate.Ask(ctx, gitstate.Options{Dir: r.Root, Environ: r.Environ})
	return sync.OnceValue(func() *receipt.Source {
		state, err := query.Answer(ctx, r.files.seen()...)
		if err != nil && ctx.Err() == nil {
			r.warn("the receipt will not name a commit: " + err.Error())
		}
		if state == nil {
			return nil
		}
		return &receipt.Source{Commit: state.Commit, Dirty: state.Dirty}
	})
}
