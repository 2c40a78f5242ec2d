// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// debianPackages are added to the essential ones.
const debianPackages = "gcc,make,libc6-dev"

// debianStamp names the release and the packages, not their versions: the
// image gets newer packages only when it is made anew.
func debianStamp() (string, error) {
	suite, err := debianSuite()
	return fmt.Sprintf("recipe %s\ndebian %s\npackages %s\n", recipe, suite, debianPackages), err
}

// debianFiles writes a minimal Debian with a C compiler and make.
func debianFiles(ctx context.Context, w *layerWriter) error {
	suite, err := debianSuite()
	if err != nil {
		return err
	}
	args := []string{
		"--variant=minbase", "--format=tar", "--quiet", "--include=" + debianPackages,
		"--aptopt=APT::Install-Recommends \"false\"",
		suite, "-",
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, debianSources()...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0")
	cmd.Stderr = os.Stderr
	archive, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (Debian: apt install mmdebstrap)", err)
	}
	return errors.Join(copyArchive(w, archive), cmd.Wait())
}

// copyArchive copies a root file system, less what a container gets from its
// engine and what no build reads.
func copyArchive(w *layerWriter, archive io.Reader) error {
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			// What follows the archive's end must be read, or the writer stops.
			_, err := io.Copy(io.Discard, archive)
			return err
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(h.Name, "./")
		if h.Name == "" || droppedFromDebian(h) {
			continue
		}
		h.PAXRecords = nil
		if err := w.entry(h, r); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func droppedFromDebian(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeBlock, tar.TypeChar, tar.TypeFifo:
		return true
	}
	if h.Typeflag == tar.TypeDir {
		return false
	}
	for _, folder := range []string{
		"etc/hostname", "etc/resolv.conf",
		"usr/share/doc/", "usr/share/info/", "usr/share/locale/", "usr/share/man/",
		"var/cache/", "var/lib/apt/", "var/log/",
	} {
		if strings.HasPrefix(h.Name, folder) {
			return true
		}
	}
	return false
}

// debianSuite is the name of this machine's Debian release.
func debianSuite() (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(release)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("/etc/os-release names no VERSION_CODENAME: the image is made on Debian")
}

// debianSources are this machine's own sources of Debian packages, without
// those of others; none means Debian's servers.
func debianSources() []string {
	for _, file := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return []string{file}
		}
	}
	return nil
}
