// SPDX-License-Identifier: Apache-2.0

// Package connect turns the address of an engine into a BuildKit client.
//
// Start with [Open]. An address is empty, for the embedded engine, which is
// started where it does not run; or unix://PATH, tcp://HOST:PORT (mutual TLS
// only), docker-container://NAME, podman-container://NAME, kube-pod://NAME; or
// buildx://NAME or just NAME, for a builder that docker buildx made.
package connect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	// Helpers for addresses of these kinds; they run docker, podman, kubectl.
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer"
	_ "github.com/moby/buildkit/client/connhelper/kubepod"
	_ "github.com/moby/buildkit/client/connhelper/podmancontainer"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// answerTimeout is how long an engine may take to say its version: docker
// exec, which is behind some addresses, is not quick.
const answerTimeout = 8 * time.Second

var errNoAnswer = errors.New("no answer in time")

// Conn is a connection to an engine. The client is safe for concurrent use;
// Close it when nothing runs any more.
type Conn struct {
	Client *client.Client
	// Name is for people and receipts: "embedded buildkit v0.34.2",
	// "buildkit v0.34.2 at unix:///run/buildkit/buildkitd.sock".
	Name string
	// Embedded is the embedded engine's status; nil for any other engine.
	Embedded *launch.Status
}

// Close ends the connection, and with it whatever still runs over it.
func (c *Conn) Close() error { return c.Client.Close() }

// Options say which engine to open. The zero value is the embedded engine of
// this process's environment.
type Options struct {
	Address string        // see the package comment
	Environ []string      // nil means os.Environ
	Daemon  launch.Daemon // how to start the embedded engine
	// Progress is told what takes time; it may be nil.
	Progress func(executor.Progress)
}

// Address says which engine is meant: that of the flag, else ATTEST_ENGINE,
// else BUILDKIT_HOST, else none, which is the embedded one.
func Address(flag string, environ []string) string {
	if flag != "" {
		return flag
	}
	if address := launch.Getenv(environ, "ATTEST_ENGINE"); address != "" {
		return address
	}
	return launch.Getenv(environ, "BUILDKIT_HOST")
}

// Open connects. An engine that cannot be reached or used is an error that
// matches [executor.ErrUnavailable] and has hints.
func Open(ctx context.Context, o Options) (*Conn, error) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Address == "" || o.Address == "embedded" {
		return openEmbedded(ctx, o)
	}
	target, err := resolve(o.Address, o.Environ)
	if err != nil {
		return nil, err
	}
	return openOther(ctx, o, target)
}

func openEmbedded(ctx context.Context, o Options) (*Conn, error) {
	d := o.Daemon
	if d.Environ == nil {
		d.Environ = o.Environ
	}
	s, err := d.Ensure(ctx, o.report)
	if err != nil {
		return nil, err
	}
	// No question is put to BuildKit: the daemon has just said that it serves.
	c, err := client.New(ctx, s.Address)
	if err != nil {
		return nil, unavailable(s.Address, err)
	}
	return &Conn{Client: c, Name: "embedded buildkit " + s.BuildKit, Embedded: &s}, nil
}

func openOther(ctx context.Context, o Options, t target) (*Conn, error) {
	o.report("connecting to " + o.Address)
	c, err := client.New(ctx, t.address, t.tls.options()...)
	if err != nil {
		return nil, unavailable(o.Address, err, t.hints...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	info, err := c.Info(ctx)
	switch {
	case err == nil:
		return &Conn{Client: c, Name: fmt.Sprintf("buildkit %s at %s", info.BuildkitVersion.Version, o.Address)}, nil
	case grpcerrors.Code(err) == codes.Unimplemented: // older than v0.11
		return &Conn{Client: c, Name: "buildkit at " + o.Address}, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, errors.Join(unavailable(o.Address, err, t.hints...), c.Close())
}

func (o Options) report(doing string) {
	if o.Progress != nil {
		o.Progress(executor.Progress{Doing: doing})
	}
}

// unavailable says that an engine cannot be reached, without gRPC's words.
func unavailable(address string, err error, hints ...string) error {
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unavailable {
		err = errors.New(s.Message())
	}
	hints = append(hints, "leave out --engine, ATTEST_ENGINE and BUILDKIT_HOST to use the embedded engine")
	return &executor.HintedError{Err: fmt.Errorf("%w: %s: %w", executor.ErrUnavailable, address, err), Hints: hints}
}
