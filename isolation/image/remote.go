// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	gcrtypes "github.com/google/go-containerregistry/pkg/v1/types"
	ociDigests "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// ociDigest spells a digest as OCI types have it.
func ociDigest(d digest.Digest) ociDigests.Digest { return ociDigests.Digest(d.String()) }

func resolveRemote(ctx context.Context, ref string, platform ocispecs.Platform) (Image, error) {
	parsedRef, err := name.ParseReference(ref)
	if err != nil {
		return Image{}, &executor.HintedError{Err: err, Hints: []string{
			"an image is NAME[:TAG][@sha256:...] or oci-layout://PATH[:TAG]"}}
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	top, err := remote.Get(parsedRef, opts...)
	if err != nil {
		return Image{}, explain(parsedRef, err)
	}
	img, err := forPlatform(top, platform)
	if err != nil {
		return Image{}, explain(parsedRef, err)
	}
	manifest, err := img.Digest()
	if err != nil {
		return Image{}, explain(parsedRef, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return Image{}, explain(parsedRef, err)
	}
	topDigest, err := digest.Parse(top.Digest.String())
	if err != nil {
		return Image{}, err
	}
	manifestDigest, err := digest.Parse(manifest.String())
	if err != nil {
		return Image{}, err
	}
	return Image{Ref: ref, Pinned: pin(ref, topDigest), Digest: topDigest,
		Manifest: manifestDigest, Env: config.Config.Env}, nil
}

// forPlatform returns the image that a descriptor stands for, itself or the
// fitting one of an index.
func forPlatform(top *remote.Descriptor, platform ocispecs.Platform) (v1.Image, error) {
	if !top.MediaType.IsIndex() {
		return top.Image()
	}
	index, err := top.ImageIndex()
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	all := make([]ocispecs.Descriptor, 0, len(list.Manifests))
	for _, m := range list.Manifests {
		d := ocispecs.Descriptor{Digest: ociDigests.Digest(m.Digest.String()), MediaType: string(m.MediaType)}
		if p := m.Platform; p != nil {
			d.Platform = &ocispecs.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
		}
		all = append(all, d)
	}
	one, err := choose(all, platform)
	if err != nil {
		return nil, err
	}
	if gcrtypes.MediaType(one.MediaType).IsIndex() {
		return nil, fmt.Errorf("the index holds another index for %s", platformName(platform))
	}
	hash, err := v1.NewHash(one.Digest.String())
	if err != nil {
		return nil, err
	}
	return index.Image(hash)
}

// explain says what to do about an error of a registry.
func explain(ref name.Reference, err error) error {
	var answer *transport.Error
	var dns *net.DNSError
	var op *net.OpError
	registry := ref.Context().RegistryStr()
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return &executor.HintedError{Err: fmt.Errorf("%s has no such image: %w", registry, err),
			Hints: []string{"check the name and the tag"}}
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return &executor.HintedError{Err: fmt.Errorf("%s denies access: %w", registry, err),
			Hints: []string{"check the name", "docker login " + registry + ", where the image is private"}}
	case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
		return &executor.HintedError{Err: fmt.Errorf("%s limits how often it is asked: %w", registry, err),
			Hints: []string{"docker login " + registry + " raises the limit", "wait"}}
	case errors.As(err, &dns), errors.As(err, &op):
		return &executor.HintedError{Err: fmt.Errorf("reaching %s: %w", registry, err),
			Hints: []string{"is there a network?", "an image can also come from a folder: oci-layout://PATH"}}
	}
	return err
}
