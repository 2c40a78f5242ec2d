// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutStore is the session's name for the store of an OCI layout.
const layoutStore = "layout"

// layout is the blobs of an OCI layout as a store that is only read. The engine
// checks every blob that it fetches against its digest.
type layout struct {
	// Walking, changing and writing are asked of no store of a source.
	content.IngestManager
	content.Ingester
	dir string
}

var _ content.Store = layout{}

func (l layout) path(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	return filepath.Join(l.dir, ocispecs.ImageBlobsDir, d.Algorithm().String(), d.Encoded()), nil
}

func (l layout) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	name, err := l.path(d)
	if err != nil {
		return content.Info{}, err
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return content.Info{}, fmt.Errorf("%w: blob %s", errdefs.ErrNotFound, d)
	}
	return content.Info{Digest: d, Size: info.Size(), CreatedAt: info.ModTime(), UpdatedAt: info.ModTime()}, nil
}

func (l layout) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	info, err := l.Info(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	name, err := l.path(desc.Digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return blob{f, info.Size}, nil
}

func (layout) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errdefs.ErrNotImplemented
}

func (layout) Walk(context.Context, content.WalkFunc, ...string) error {
	return errdefs.ErrNotImplemented
}

func (layout) Delete(context.Context, digest.Digest) error { return errdefs.ErrNotImplemented }

type blob struct {
	*os.File
	size int64
}

func (b blob) Size() int64 { return b.size }
