// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

const minimal = "version: \"0.1\"\nname: x\nsteps: {a: {run: x}}\n"

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "attest.yaml")
	if err := os.WriteFile(file, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Load(file, "shown.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.File.Name != "shown.yaml" || p.Steps[0].Pos.File != "shown.yaml" {
		t.Errorf("places are in %q and %q", p.File.Name, p.Steps[0].Pos.File)
	}
	if p.Digest != digest.Of([]byte(minimal)) {
		t.Error("the digest is not that of the bytes")
	}
	if p, err = pipeline.Load(file, ""); err != nil || p.File.Name != file {
		t.Errorf("without a name to display: %v", err)
	}
}

// TestLoadOddities puts things that are no files in the file's place: none may
// block, each must be named.
func TestLoadOddities(t *testing.T) {
	dir := t.TempDir()
	fifo, sock, large := filepath.Join(dir, "fifo"), filepath.Join(dir, "sock"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(100<<20), f.Close()); err != nil { // sparse
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "a folder", fifo: "a FIFO", sock: "a socket", "/dev/zero": "a device", large: "larger than 16 MiB",
	} {
		p, err := pipeline.Load(path, "attest.yaml")
		if p != nil || !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", path, err, want)
		}
	}
	p, err := pipeline.Load(filepath.Join(dir, "absent"), "attest.yaml")
	if p != nil || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("absent: %v", err)
	}
}
