// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"

	// gRPC messages of BuildKit are encoded by its own, faster codec.
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

const (
	lockTimeout  = time.Second // others hold the lock for moments, to look
	logCheck     = time.Minute
	maxLog       = 16 << 20
	drainTimeout = 1200 * time.Millisecond // for running steps, when told to end
)

var (
	// ErrRunning means that another engine holds the state folder.
	ErrRunning = errors.New("another engine runs in this state folder")

	errIdle    = errors.New("nobody was connected for a while")
	errAsked   = errors.New("told to stop")
	errDrained = errors.New("steps took too long to end")
)

// Options are the settings of [Run].
type Options struct {
	StateDir string // required
	// IdleTimeout is how long to stay when nobody is connected; 0 or less
	// means for ever.
	IdleTimeout time.Duration
	Version     string       // of attest, for the status
	HostPID     int          // this process as the host counts, see [Settle]
	Environ     []string     // where PATH names the OCI runtime; nil means none
	Log         *slog.Logger // nil discards
}

// Run serves until ctx ends, somebody asks the engine to stop, or it was idle
// for long enough; these are no errors. It must be called once per process:
// BuildKit has state that belongs to the process. The process should be alone
// in a PID namespace, see [Contain].
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := launch.CheckHost(o.Environ); err != nil {
		return err
	}
	files, err := launch.FilesIn(o.StateDir)
	if err != nil {
		return err
	}
	if err := files.Make(); err != nil {
		return err
	}
	lock, err := hold(ctx, o, files)
	if err != nil {
		return err
	}
	// Given up by the end of the process alone: whoever finds it free may rely
	// on nothing of this engine being there any more.
	defer runtime.KeepAlive(lock)
	removeCgroups(files) // those of a killed engine
	defer removeCgroups(files)
	if err := settleTemporary(files.Temporary); err != nil {
		return err
	}
	discarded, err := markRunning(files)
	if err != nil {
		return err
	}
	if discarded {
		o.Log.Warn("starting with empty stores", "why", "the machine went down while the engine ran")
	}
	if err := serve(ctx, o, files); err != nil {
		return err
	}
	return markEnded(files)
}

// settleTemporary makes dir, empty and for this user alone, the temporary folder of
// this process. BuildKit mounts there, so that an engine that was killed leaves folders
// behind, whose mounts have gone with it.
func settleTemporary(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("emptying the engine's temporary folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the engine's temporary folder: %w", err)
	}
	return os.Setenv("TMPDIR", dir)
}

// hold takes the state folder's lock.
func hold(ctx context.Context, o Options, files launch.Files) (*launch.Lock, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockTimeout, ErrRunning)
	defer cancel()
	lock, err := launch.WaitLock(ctx, files.Lock)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", files.StateDir, err)
	}
	self, err := launch.Identify(o.HostPID)
	if err == nil {
		err = lock.Describe(self)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func serve(ctx context.Context, o Options, files launch.Files) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	engine, err := newEngine(ctx, o, files)
	if err != nil {
		return err
	}
	defer func() {
		if err := engine.Close(); err != nil {
			o.Log.Warn("closing", "err", err)
		}
	}()

	grpcListener, err := listen(files.Socket)
	if err != nil {
		return err
	}
	defer grpcListener.Close()
	controlListener, err := listen(files.Control)
	if err != nil {
		return err
	}
	defer controlListener.Close()

	use := newUsage(o.IdleTimeout, func() { stop(errIdle) })
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(use.unary, grpcerrors.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
	)
	engine.Register(server)

	served := make(chan error, 1)
	go func() { served <- server.Serve(use.listener(grpcListener)) }()
	go boundLog(ctx)
	about := engine.about
	about.Running, about.PID, about.Since = true, o.HostPID, time.Now()
	go launch.Answer(controlListener, func() (launch.Status, bool) { return use.status(about) },
		func() { stop(errAsked) })
	o.Log.Info("ready", "address", about.Address, "buildkit", about.BuildKit, "runtime", about.Runtime)

	select {
	case err = <-served:
	case <-ctx.Done():
		o.Log.Info("ending", "why", context.Cause(ctx))
	}
	use.close()
	server.Stop() // cancels whatever runs
	if !use.drained(drainTimeout) {
		o.Log.Warn("ending", "why", errDrained)
	}
	return err
}

// boundLog empties the log, if it is a file that this process has filled, so
// that an engine that lives for ever does not fill the disk with complaints.
func boundLog(ctx context.Context) {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if info, err := os.Stderr.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > maxLog {
			_ = os.Stderr.Truncate(0) // it is open for appending
		}
	}
}

// listen makes a unix socket for this user alone. A socket that a killed
// engine left is in nobody's use: the caller holds the lock.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
