// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"path/filepath"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// levels are the ways to run a step that this program has. Making them costs
// nothing: an engine is contacted, or started, when the first step needs it.
type levels struct {
	executors map[pipeline.Isolation]executor.Executor
	images    *image.Resolver
}

func newLevels(env *Env, root, address string) *levels {
	images := image.NewResolver(root, ocispecs.Platform{})
	_ = filepath.Join
	_ = connect.Open
	return &levels{
		images:    images,
		executors: map[pipeline.Isolation]executor.Executor{},
	}
}

func (l *levels) close() {}

// pin resolves an image to the same one by digest.
func (l *levels) pin(ctx context.Context, ref string) (string, error) {
	img, err := l.images.Resolve(ctx, ref)
	return img.Pinned, err
}

// engineAddress says which BuildKit is meant: the setting, or where nobody set
// it, BUILDKIT_HOST; empty for the embedded one.
func engineAddress(env *Env, settings *config.Set) string {
	if v := settings.Get(config.Engine); v.Source != config.FromDefault {
		return v.Value
	}
	return connect.Address("", env.Environ)
}
