// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
)

// credentials lets the engine pull what package image could resolve: with the
// same keychain. It holds nothing; an engine asks only where a registry denies
// access without.
type credentials struct{ auth.UnimplementedAuthServer }

// Register adds the service to a session.
func (c credentials) Register(s *grpc.Server) { auth.RegisterAuthServer(s, c) }

// Credentials answers for one registry; no credentials are an empty answer.
func (credentials) Credentials(ctx context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host := r.Host
	if host == "registry-1.docker.io" { // how containerd calls Docker Hub's
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return nil, err
	}
	found, err := authn.Resolve(ctx, authn.DefaultKeychain, registry)
	if err != nil {
		return nil, err
	}
	secret, err := authn.Authorization(ctx, found)
	if err != nil {
		return nil, err
	}
	if secret.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: secret.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: secret.Username, Secret: secret.Password}, nil
}
