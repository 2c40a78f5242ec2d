// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var epoch = time.Unix(0, 0).UTC()

// writeLayout writes work/layout: an OCI layout that holds one image of one
// layer, under the name latest.
func writeLayout(ctx context.Context, work string, img image) (v1.Hash, error) {
	archive := filepath.Join(work, "layer.tar")
	if err := writeLayer(ctx, archive, img); err != nil {
		return v1.Hash{}, err
	}
	layer, err := tarball.LayerFromFile(archive,
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return v1.Hash{}, err
	}
	built, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(
		empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layer)
	if err != nil {
		return v1.Hash{}, err
	}
	config, err := built.ConfigFile()
	if err != nil {
		return v1.Hash{}, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: epoch}
	config.Config.Env = img.env
	config.Config.Cmd = []string{"/bin/sh"}
	if built, err = mutate.ConfigFile(built, config); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(filepath.Join(work, "layout"), empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	err = path.AppendImage(built,
		layout.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
		layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"}))
	if err != nil {
		return v1.Hash{}, err
	}
	return built.Digest()
}

func writeLayer(ctx context.Context, name string, img image) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := &layerWriter{tar: tar.NewWriter(buffered)}
	if err := img.files(ctx, w); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// layerWriter writes files into a layer without anything in them that differs
// from machine to machine.
type layerWriter struct{ tar *tar.Writer }

func (w *layerWriter) folder(name string, mode int64) error {
	return w.entry(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (w *layerWriter) link(name, target string) error {
	return w.entry(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (w *layerWriter) text(name, content string) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
	return w.entry(header, strings.NewReader(content))
}

// file copies a file of this machine; it is executable where it is here.
func (w *layerWriter) file(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return w.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}, f)
}

// entry writes one entry. The header says name, type, mode, size and target;
// its owners are kept as numbers only.
func (w *layerWriter) entry(h *tar.Header, content io.Reader) error {
	h.ModTime, h.AccessTime, h.ChangeTime = epoch, time.Time{}, time.Time{}
	h.Uname, h.Gname = "", ""
	h.Format = tar.FormatPAX
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.Copy(w.tar, content)
	return err
}
