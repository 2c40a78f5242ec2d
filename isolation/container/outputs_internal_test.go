// SPDX-License-Identifier: Apache-2.0

package container

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// take unpacks an archive into staging, as if the engine had sent it.
func take(t testing.TB, staging string, archive []byte) error {
	t.Helper()
	root, err := os.OpenRoot(staging)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := newOutputs(root, nil, "", nil, newReporter(func(executor.Progress) {}))
	w, err := o.open(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- o.receive() }()
	_, _ = w.Write(archive)
	o.end(true)
	return <-done
}

func archive(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}
}

func folderOf(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}
}

func link(kind byte, name, target string) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}
}

// TestHostileArchive: an engine, or a step through it, sends what must not be
// unpacked. Nothing outside the staging folder changes, whatever else happens.
func TestHostileArchive(t *testing.T) {
	for name, headers := range map[string][]*tar.Header{
		"parent":                  {file("../victim/new")},
		"parent in the middle":    {folderOf("a"), file("a/../../victim/new")},
		"through a link":          {link(tar.TypeSymlink, "l", "../victim"), file("l/new")},
		"through an absolute one": {link(tar.TypeSymlink, "l", "VICTIM"), file("l/new")},
		"over a link":             {link(tar.TypeSymlink, "l", "../victim/file"), file("l")},
		"folder over a link":      {link(tar.TypeSymlink, "l", "../victim"), folderOf("l"), file("l/new")},
		"through two links":       {folderOf("d"), link(tar.TypeSymlink, "d/l", ".."), link(tar.TypeSymlink, "m", "d/l/../victim"), file("m/new")},
		"hard link out":           {link(tar.TypeLink, "h", "../victim/file")},
		"hard link out, absolute": {link(tar.TypeLink, "h", "VICTIM/file")},
		"hard link by a link":     {link(tar.TypeSymlink, "l", "../victim"), link(tar.TypeLink, "h", "l/file")},
		"hard link to nothing":    {link(tar.TypeLink, "h", "nothing")},
		"a file twice":            {file("f"), file("f")},
		"a folder twice":          {folderOf("f"), folderOf("f")},
		"below a file":            {file("f"), file("f/g")},
		"folder missing":          {file("d/f")},
		"FIFO":                    {{Typeflag: tar.TypeFifo, Name: "special", Mode: 0o644}},
		"character device":        {{Typeflag: tar.TypeChar, Name: "special", Mode: 0o644, Devmajor: 1, Devminor: 3}},
		"block device":            {{Typeflag: tar.TypeBlock, Name: "special", Mode: 0o644, Devmajor: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			staging, victim := filepath.Join(base, "staging"), filepath.Join(base, "victim")
			for _, dir := range []string{staging, victim} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(victim, "file"), []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, h := range headers {
				h.Linkname = strings.ReplaceAll(h.Linkname, "VICTIM", victim)
			}
			err := take(t, staging, archive(t, headers...))
			if err == nil {
				t.Error("it was unpacked")
			}
			var special *tree.SpecialFileError
			if headers[0].Name == "special" && (!errors.As(err, &special) || special.Path != "special") {
				t.Errorf("the error does not name the special file: %v", err)
			}
			wantUntouched(t, victim)
		})
	}
}

func wantUntouched(t *testing.T, victim string) {
	t.Helper()
	items, err := os.ReadDir(victim)
	if err != nil || len(items) != 1 {
		t.Errorf("the folder outside holds %v, error %v", items, err)
	}
	info, err := os.Stat(filepath.Join(victim, "file"))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != int64(len("precious")) {
		t.Errorf("the file outside is %v, error %v", info, err)
	}
}

func TestTruncatedArchive(t *testing.T) {
	whole := archive(t, file("a"), file("b"))
	for _, n := range []int{1, 511, 1100} {
		if err := take(t, t.TempDir(), whole[:n]); err == nil {
			t.Errorf("an archive cut after %d of %d bytes was taken for a whole one", n, len(whole))
		}
	}
}

// TestModes: permission bits come back as they were, others do not, and a
// folder that may not be written to can be filled.
func TestModes(t *testing.T) {
	staging := t.TempDir()
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "sealed/", Mode: 0o555},
		{Typeflag: tar.TypeReg, Name: "sealed/tool", Mode: 0o4755},
		{Typeflag: tar.TypeReg, Name: "secret", Mode: 0o600},
		{Typeflag: tar.TypeDir, Name: "sticky/", Mode: 0o1777},
		{Typeflag: tar.TypeSymlink, Name: "way", Linkname: "/etc/passwd", Mode: 0o777},
		{Typeflag: tar.TypeLink, Name: "again", Linkname: "secret"},
	}
	if err := take(t, staging, archive(t, headers...)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"sealed":      fs.ModeDir | 0o555,
		"sealed/tool": 0o755,
		"secret":      0o600,
		"sticky":      fs.ModeDir | 0o777,
		"again":       0o600,
	} {
		info, err := os.Lstat(filepath.Join(staging, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, error %v, want %v", name, info.Mode(), err, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(staging, "way")); err != nil || to != "/etc/passwd" {
		t.Errorf("the link leads to %q, error %v", to, err)
	}
}

// BenchmarkUnpack takes back 20,000 small files in 100 folders.
func BenchmarkUnpack(b *testing.B) {
	var headers []*tar.Header
	for i := range 100 {
		dir := fmt.Sprintf("out/d%d", i)
		if i == 0 {
			headers = append(headers, folderOf("out"))
		}
		headers = append(headers, folderOf(dir))
		for j := range 200 {
			headers = append(headers, file(fmt.Sprintf("%s/f%d", dir, j)))
		}
	}
	text := archive(b, headers...)
	for b.Loop() {
		if err := take(b, b.TempDir(), text); err != nil {
			b.Fatal(err)
		}
	}
}
