// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Pinner finds out which digest a reference stands for, and no more than that:
// a run whose steps are all cached needs nothing else of an image. A registry is
// asked once for each name with a tag, with a single request; a reference with a
// digest needs none.
//
// Where a registry cannot be reached, its last answer counts, and the user is
// warned. One that answers is believed, whatever it said before. Safe for
// concurrent use.
type Pinner struct {
	answers *Resolver
}

// PinnerOptions say where a Pinner looks.
type PinnerOptions struct {
	// BaseDir is where relative paths of layouts start.
	BaseDir string
	// Dir is the folder that keeps the last answers of registries; it is made
	// when there is one to keep. Empty keeps none.
	Dir string
	// Warn is told of an answer that counts because there is no newer one; nil
	// means nobody is.
	Warn func(string)
}

// offlineTimeout is how long a registry may take whose last answer is known.
const offlineTimeout = 5 * time.Second

// NewPinner returns a Pinner that has not asked anybody yet.
func NewPinner(o PinnerOptions) *Pinner {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	r := NewResolver(o.BaseDir, ocispecs.Platform{})
	r.resolve = func(ctx context.Context, ref string) (Image, error) {
		if strings.HasPrefix(ref, layoutScheme) {
			return Resolve(ctx, ref, r.baseDir, r.platform)
		}
		return o.ask(ctx, ref)
	}
	return &Pinner{r}
}

// Pin returns the reference with the digest that it stands for now. Errors are
// those of [Resolve].
func (p *Pinner) Pin(ctx context.Context, ref string) (string, error) {
	img, err := p.answers.Resolve(ctx, ref)
	return img.Pinned, err
}

// ask asks a registry. Of the Image, only what a Pinner needs is filled in.
func (o PinnerOptions) ask(ctx context.Context, ref string) (Image, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return Image{}, &executor.ImageError{Image: ref, Err: err}
	}
	if d, ok := parsed.(name.Digest); ok {
		is, err := digest.Parse(d.DigestStr())
		return Image{Ref: ref, Pinned: ref, Digest: is}, err
	}
	last, known := o.recall(ref)
	limit := Timeout
	if known {
		limit = offlineTimeout
	}
	within, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	is, err := head(within, parsed, known)
	switch {
	case err == nil:
		if is != last {
			o.remember(ref, is)
		}
		return Image{Ref: ref, Pinned: pin(ref, is), Digest: is}, nil
	case ctx.Err() != nil:
		return Image{}, context.Cause(ctx)
	case within.Err() != nil:
		err = &executor.HintedError{Err: context.Cause(within), Hints: []string{"is the registry reachable from here?"}}
	case answered(err):
		known = false
	}
	if !known {
		return Image{}, &executor.ImageError{Image: ref, Err: explain(parsed, err)}
	}
	o.Warn(fmt.Sprintf("image %s: %v; going on with what it was last, %v", ref, err, last))
	return Image{Ref: ref, Pinned: pin(ref, last), Digest: last}, nil
}

// head asks for a digest alone, or for the manifest where the registry does not
// answer such questions. hasty asks once.
func head(ctx context.Context, ref name.Reference, hasty bool) (digest.Digest, error) {
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if hasty {
		options = append(options, remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	}
	found, err := remote.Head(ref, options...)
	if err == nil {
		return digest.Parse(found.Digest.String())
	}
	if !answered(err) {
		return digest.Digest{}, err
	}
	whole, err := remote.Get(ref, options...)
	if err != nil {
		return digest.Digest{}, err
	}
	return digest.Parse(whole.Digest.String())
}

// answered reports whether the error came from a registry, or from the way to
// one. Of what a registry says that makes no sense, nothing is known.
func answered(err error) bool {
	var answer *transport.Error
	var network net.Error
	return errors.As(err, &answer) || !errors.As(err, &network)
}

// file is where the last answer about a reference stands.
func (o PinnerOptions) file(ref string) string {
	return filepath.Join(o.Dir, digest.Of([]byte(ref)).Hex())
}

func (o PinnerOptions) recall(ref string) (digest.Digest, bool) {
	if o.Dir == "" {
		return digest.Digest{}, false
	}
	text, err := os.ReadFile(o.file(ref))
	if err != nil {
		return digest.Digest{}, false
	}
	d, err := digest.Parse(strings.TrimSuffix(string(text), "\n"))
	return d, err == nil && d.Algorithm() == digest.SHA256
}

// remember keeps an answer. Without it a later run without a network fails as
// this one would have, so an error is none of the user's business.
func (o PinnerOptions) remember(ref string, is digest.Digest) {
	if o.Dir == "" {
		return
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return
	}
	spare, err := os.CreateTemp(o.Dir, ".new-")
	if err != nil {
		return
	}
	_, err = spare.WriteString(is.String() + "\n")
	if errors.Join(err, spare.Close()) == nil {
		err = os.Rename(spare.Name(), o.file(ref))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(spare.Name())
	}
}
