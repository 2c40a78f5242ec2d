// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"os"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Inputs returns the files, symbolic links and empty folders of the project
// that step i sees, ordered by path, without digests: what its inputs name as
// it is on disk now, and what the outputs of the steps that it needs name.
// root is the project's folder. Call it when the step is about to start.
//
// What does not fit the declaration (a file that is not there, a device among
// the files) is a [source.Error] at its place in attest.yaml that matches
// [ErrInput]; all of them are returned at once.
func (p *Plan) Inputs(ctx context.Context, root *os.Root, i int) ([]tree.Entry, error) {
	return nil, errors.New("not yet")
}

// MatchOutputs returns what stands below root and matches the output patterns,
// ordered by path and without digests, and those patterns that match nothing
// although they are not optional. An empty folder counts as something. root is
// the project's folder, or one laid out like it.
//
// Something that cannot be an output (a file where the pattern says folder, a
// device) is a [source.Error] at the pattern's place that matches [ErrInput].
func MatchOutputs(ctx context.Context, root *os.Root, patterns []pipeline.Pattern) (entries []tree.Entry, missing []pipeline.Pattern, err error) {
	return nil, nil, errors.New("not yet")
}
