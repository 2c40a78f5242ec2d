// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"context"

	"github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Marshal returns the definition of a state for a platform.
func Marshal(ctx context.Context, state llb.State, platform ocispecs.Platform) (*llb.Definition, error) {
	// The unique identifier of a local source is random where nothing sets it,
	// in the definition's defaults too.
	return state.Marshal(ctx, llb.Platform(platform), llb.LocalUniqueID(""))
}

// Definition compiles one step that stands alone: its workspace is its planned
// tree, the outputs of the steps that it needs included. hint is as in
// [Step.Inputs].
func (s Step) Definition(ctx context.Context, hint string, platform ocispecs.Platform) (*llb.Definition, error) {
	outputs, err := s.Exec(s.Compose(s.Inputs(hint)))
	if err != nil {
		return nil, err
	}
	return Marshal(ctx, outputs, platform)
}
