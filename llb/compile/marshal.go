// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"context"
	"maps"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/apicaps"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/frontend/pipeline"
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
	def, err := Marshal(ctx, outputs, platform)
	if err == nil && s.Network == pipeline.NetworkRecorded {
		requireRecorded(def)
	}
	return def, err
}

// CapRecorded is what a BuildKit must be able to do that runs a step with a
// recorded network.
const CapRecorded = pb.CapExecMetaNetworkProxy

// requireRecorded has every BuildKit refuse the definition that would not
// understand that the network is to be recorded, and leave it open. It does not
// change what the operations are.
func requireRecorded(def *llb.Definition) {
	for id, about := range def.Metadata {
		caps := map[apicaps.CapID]bool{CapRecorded: true}
		maps.Copy(caps, about.Caps)
		about.Caps = caps
		def.Metadata[id] = about
	}
}
