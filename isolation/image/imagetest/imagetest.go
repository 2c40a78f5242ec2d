// SPDX-License-Identifier: Apache-2.0

// Package imagetest makes images for tests, without a network.
//
// Start with [Busybox].
package imagetest

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Env is the environment of the image of [Busybox].
var Env = []string{"PATH=/bin", "IMAGE=busybox"}

// Busybox returns the reference of an OCI layout that holds a statically linked
// busybox with all its commands, in a folder of the test. It is the same image,
// byte for byte, wherever the same busybox is installed. A test on a machine
// without one is skipped, or fails under ATTEST_REQUIRE_BUILDKIT.
func Busybox(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "busybox")
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: BusyboxImage(t),
		Descriptor: v1.Descriptor{
			Annotations: map[string]string{"org.opencontainers.image.ref.name": "latest"},
			Platform:    &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		},
	})
	if _, err := layout.Write(dir, index); err != nil {
		t.Fatal(err)
	}
	return "oci-layout://" + dir
}

// BusyboxImage is the image of [Busybox], for tests that put it elsewhere.
func BusyboxImage(t testing.TB) v1.Image {
	t.Helper()
	program, err := exec.LookPath("busybox")
	if err != nil {
		if os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" {
			t.Fatal("no busybox (apt install busybox-static), and ATTEST_REQUIRE_BUILDKIT is set")
		}
		t.Skip("needs busybox: apt install busybox-static")
	}
	img, err := build(program)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func build(program string) (v1.Image, error) {
	archive, err := files(program)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Env = Env
	return mutate.ConfigFile(img, config)
}

// files is the image's one layer: a root file system with nothing else in it.
func files(program string) ([]byte, error) {
	busybox, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	commands, err := exec.Command(program, "--list").Output()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := &writer{tar: tar.NewWriter(&b)}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "sys", "usr/bin", "tmp"} {
		w.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	w.add(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\n"))
	w.add(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, busybox)
	w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/bin/env", Linkname: "/bin/busybox"}, nil)
	for name := range strings.FieldsSeq(string(commands)) {
		if name != "busybox" {
			w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, nil)
		}
	}
	if w.err == nil {
		w.err = w.tar.Close()
	}
	return b.Bytes(), w.err
}

type writer struct {
	tar *tar.Writer
	err error
}

func (w *writer) add(h *tar.Header, content []byte) {
	if w.err != nil {
		return
	}
	h.Size, h.Format = int64(len(content)), tar.FormatPAX
	if w.err = w.tar.WriteHeader(h); w.err == nil {
		_, w.err = w.tar.Write(content)
	}
}
