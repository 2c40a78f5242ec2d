// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/containerd/containerd/v2/pkg/seccomp"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker"
	"google.golang.org/grpc"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// buildkitModule is where BuildKit's version comes from: the module that is
// linked in says it, and nobody has to write it down a second time.
const buildkitModule = "github.com/moby/buildkit"

// engine is BuildKit, put together.
type engine struct {
	controller *control.Controller
	about      launch.Status
}

// newEngine puts BuildKit together over the state folder, which the caller
// has locked. The engine stops accepting history readers when ctx ends.
func newEngine(ctx context.Context, o Options, files launch.Files) (*engine, error) {
	version.Version = BuildKitVersion()
	sessions, err := session.NewManager()
	if err != nil {
		return nil, fmt.Errorf("making the session manager: %w", err)
	}
	w, about, err := newWorker(ctx, o, files)
	if err != nil {
		return nil, fmt.Errorf("making the worker: %w", err)
	}
	workers := &worker.Controller{}
	if err := workers.Add(exporting{w}); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	gatewayFrontend, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(files.Root, "cache.db"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the cache: %w", err), w.Close())
	}
	history, err := openBolt(filepath.Join(files.Root, "history.db"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the history: %w", err), cache.Close(), w.Close())
	}
	c, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends:        map[string]frontend.Frontend{"gateway.v0": gatewayFrontend},
		CacheManager:     solver.NewCacheManager(ctx, "local", cache, worker.NewCacheResultStorage(workers)),
		HistoryDB:        history,
		HistoryConfig:    &config.HistoryConfig{MaxEntries: new(int64(0))}, // none: it is not read, and costs a dozen syncs a solve
		CacheStore:       cache,
		LeaseManager:     w.LeaseManager(),
		ContentStore:     w.ContentStore(),
		GarbageCollect:   w.GarbageCollect,
		GracefulStop:     ctx.Done(),
	})
	if err != nil {
		return nil, errors.Join(err, history.Close(), cache.Close(), w.Close())
	}
	about.Version, about.BuildKit = o.Version, version.Version
	about.Address, about.StateDir = files.Address(), files.StateDir
	about.Protocol = launch.Protocol
	about.Build, _ = launch.BuildID("/proc/self/exe") // none for a build without: never the same
	return &engine{controller: c, about: about}, nil
}

// Register adds BuildKit's services to a server.
func (e *engine) Register(s *grpc.Server) { e.controller.Register(s) }

// Close closes every database.
func (e *engine) Close() error { return e.controller.Close() }

// controls name the protections that every step of this engine has, whatever
// its definition asks for. container's TestControls looks from inside whether
// they are in force.
func controls(b bounds, stacking snapshotter) []string {
	list := append(b.controls(),
		"capabilities-dropped", "disk-reserve", "ipc-namespace", "mount-namespace", "no-new-privileges",
		"pid-namespace", "uts-namespace")
	if _, err := os.Stat("/proc/self/ns/cgroup"); err == nil {
		list = append(list, "cgroup-namespace")
	}
	if seccomp.IsEnabled() {
		list = append(list, "seccomp")
	}
	if stacking.name == overlayName {
		list = append(list, launch.ControlWritesListed)
	}
	slices.Sort(list)
	return list
}

// BuildKitVersion is the version of BuildKit that is linked in, such as "v0.34.2".
func BuildKitVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version.Version
	}
	for _, m := range info.Deps {
		if m.Path == buildkitModule {
			return m.Version
		}
	}
	return version.Version
}
