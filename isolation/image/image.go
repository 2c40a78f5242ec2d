// SPDX-License-Identifier: Apache-2.0

// Package image finds out what an image reference means right now: the digest
// that it stands for and the environment that the image brings.
//
// Start with [Resolver], which asks once for each image of a run, with [Resolve],
// or with [Pinner] where the digest is all that is needed. A reference is one of a registry, as every container tool spells
// them, or "oci-layout://path[:tag][@digest]", a folder in the OCI image layout.
// Layers are not read here: whoever runs the image fetches them by digest.
package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Image is a reference, resolved.
type Image struct {
	// Ref is the reference as in attest.yaml.
	Ref string
	// Pinned is Ref with the digest that it stands for: what a receipt shows.
	// Where Ref had a digest it is Ref itself.
	Pinned string
	// Digest is the digest in Pinned, SHA-256: of a manifest, or of an index
	// that holds one for each of several platforms.
	Digest digest.Digest
	// Manifest is the digest of the manifest for the platform asked for.
	Manifest digest.Digest
	// Env is the image's environment, "NAME=value".
	Env []string
	// Layout is the absolute path of the OCI layout that holds the image;
	// empty for an image of a registry.
	Layout string
}

// Timeout bounds how long one reference may take to resolve.
const Timeout = 60 * time.Second

var errTimeout = fmt.Errorf("no answer within %s", Timeout)

// Resolve resolves one reference for a platform. A relative path of a layout
// starts at baseDir. Every error but the cause of an ended ctx is an
// [*executor.ImageError], mostly around an [*executor.HintedError].
//
// Registries are asked with the credentials of ~/.docker/config.json and its
// helpers; one on a loopback address is spoken to without TLS.
func Resolve(ctx context.Context, ref, baseDir string, platform ocispecs.Platform) (Image, error) {
	within, cancel := context.WithTimeoutCause(ctx, Timeout, errTimeout)
	defer cancel()
	img, err := resolve(within, ref, baseDir, platform)
	switch {
	case err == nil:
		return img, nil
	case ctx.Err() != nil:
		return Image{}, context.Cause(ctx)
	case within.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		err = &executor.HintedError{Err: context.Cause(within), Hints: []string{"is the registry reachable from here?"}}
	}
	return Image{}, &executor.ImageError{Image: ref, Err: err}
}

const layoutScheme = "oci-layout://"

func resolve(ctx context.Context, ref, baseDir string, platform ocispecs.Platform) (Image, error) {
	if rest, ok := strings.CutPrefix(ref, layoutScheme); ok {
		return resolveLayout(ref, rest, baseDir, platform)
	}
	return resolveRemote(ctx, ref, platform)
}

// pin returns ref with the digest.
func pin(ref string, d digest.Digest) string {
	if strings.Contains(ref, "@") {
		return ref
	}
	return ref + "@" + d.String()
}

// Resolver resolves each reference once and remembers it: the steps of a run
// that name one image run in the same one. Safe for concurrent use.
type Resolver struct {
	baseDir  string
	platform ocispecs.Platform
	resolve  func(ctx context.Context, ref string) (Image, error)

	mu    sync.Mutex
	known map[string]*memo
}

type memo struct {
	turn chan struct{} // holds a token while somebody resolves
	img  *Image
}

// NewResolver returns a Resolver with nothing in it. See [Resolve] for baseDir;
// a platform without an architecture is linux on this machine's.
func NewResolver(baseDir string, platform ocispecs.Platform) *Resolver {
	if platform.Architecture == "" {
		platform = Local()
	}
	r := &Resolver{baseDir: filepath.Clean(baseDir), platform: platform, known: map[string]*memo{}}
	r.resolve = func(ctx context.Context, ref string) (Image, error) {
		return Resolve(ctx, ref, r.baseDir, r.platform)
	}
	return r
}

// Platform returns the platform that images are resolved for.
func (r *Resolver) Platform() ocispecs.Platform { return r.platform }

// Resolve is [Resolve], asked once for each ref. Callers that ask for the same
// ref at the same time wait for one answer. An error is not remembered.
func (r *Resolver) Resolve(ctx context.Context, ref string) (Image, error) {
	r.mu.Lock()
	m := r.known[ref]
	if m == nil {
		m = &memo{turn: make(chan struct{}, 1)}
		r.known[ref] = m
	}
	r.mu.Unlock()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return Image{}, context.Cause(ctx)
	}
	if m.img != nil {
		return *m.img, nil
	}
	img, err := r.resolve(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	m.img = &img
	return img, nil
}
