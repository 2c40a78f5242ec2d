// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"path/filepath"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/process"
)

// levels are the ways to run a step that this program has. Making them costs
// nothing: an engine is contacted, or started, when the first step needs it.
type levels struct {
	container *container.Executor
	process   *process.Executor
	images    *image.Resolver
}

// newLevels returns the levels for the project in root. address is that of the
// engine for container steps.
func newLevels(env *Env, root, address string) (*levels, error) {
	stateDir, err := launch.DefaultStateDir(env.Environ)
	if err != nil {
		return nil, err
	}
	files, err := launch.FilesIn(stateDir)
	if err != nil {
		return nil, err
	}
	images := image.NewResolver(root, ocispecs.Platform{})
	return &levels{
		images: images,
		container: container.New(container.Options{
			Images:  images,
			KeyFile: filepath.Join(files.StateDir, "transfer.key"),
			Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
				return connect.Open(ctx, connect.Options{
					Address: address, Environ: env.Environ, Daemon: daemon(env), Progress: progress,
				})
			},
		}),
		process: process.New(process.Options{Environ: env.Environ, Hide: []string{files.StateDir, files.SocketDir}}),
	}, nil
}

func (l *levels) executors() map[pipeline.Isolation]executor.Executor {
	return map[pipeline.Isolation]executor.Executor{pipeline.Container: l.container, pipeline.Process: l.process}
}

// close ends the connection to the engine.
func (l *levels) close() error { return l.container.Close() }

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
