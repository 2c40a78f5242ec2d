// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is a kernel and the modules that were built with it.
type Kernel struct {
	Path    string
	Version string // "6.1.0-56-cloud-amd64"
	Modules string // the folder, .../lib/modules/VERSION
}

// errNoKernel means that the host has no kernel of the distribution's.
var errNoKernel = errors.New("no kernel")

// findKernel returns the kernel at path, or, without one, the newest that the
// host has: a cloud kernel, which is quick to boot, before any other.
func findKernel(path string) (Kernel, error) {
	if path != "" {
		return readKernel(path)
	}
	var found []Kernel
	for _, pattern := range []string{"/boot/vmlinuz-*", "/usr/lib/modules/*/vmlinuz", "/lib/modules/*/vmlinuz"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return Kernel{}, err
		}
		for _, path := range paths {
			if k, err := readKernel(path); err == nil {
				found = append(found, k)
			}
		}
	}
	if len(found) == 0 {
		return Kernel{}, errNoKernel
	}
	return slices.MaxFunc(found, func(a, b Kernel) int {
		if x, y := strings.Contains(a.Version, "cloud"), strings.Contains(b.Version, "cloud"); x != y {
			if x {
				return 1
			}
			return -1
		}
		return compareVersions(a.Version, b.Version)
	}), nil
}

// compareVersions orders versions by their numbers, else as text.
func compareVersions(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '-' })
	}
	return slices.CompareFunc(split(a), split(b), func(x, y string) int {
		if len(x) != len(y) && isNumber(x) && isNumber(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// The header of a bzImage, by Linux' Documentation/arch/x86/boot.rst.
const (
	bootMagicAt   = 0x202
	bootVersionAt = 0x20e // offset of the version's text, less 0x200
	bootHeader    = 0x400
)

// readKernel reads what a kernel says of itself and finds its modules, which
// lie where its package put them, wherever that was unpacked.
func readKernel(path string) (Kernel, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Kernel{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Kernel{}, fmt.Errorf("reading the kernel: %w", err)
	}
	defer f.Close()
	head := make([]byte, bootHeader)
	if _, err := io.ReadFull(f, head); err != nil || string(head[bootMagicAt:bootMagicAt+4]) != "HdrS" {
		return Kernel{}, fmt.Errorf("reading the kernel: %s is no bzImage", path)
	}
	text := make([]byte, 256)
	at := int64(binary.LittleEndian.Uint16(head[bootVersionAt:])) + 0x200
	n, err := f.ReadAt(text, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return Kernel{}, fmt.Errorf("reading the kernel: %w", err)
	}
	line, _, ok := bytes.Cut(text[:n], []byte{0})
	version, _, _ := strings.Cut(string(line), " ")
	if !ok || version == "" || strings.Contains(version, "/") {
		return Kernel{}, fmt.Errorf("reading the kernel: %s does not say its version", path)
	}
	k := Kernel{Path: path, Version: version}
	top := filepath.Dir(filepath.Dir(path))
	for _, dir := range []string{
		filepath.Join(top, "lib/modules", version), filepath.Join(top, "usr/lib/modules", version),
		filepath.Dir(path), filepath.Join("/lib/modules", version),
	} {
		if info, err := os.Stat(filepath.Join(dir, "kernel")); err == nil && info.IsDir() {
			k.Modules = dir
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("finding the modules of kernel %s: there is no folder lib/modules/%s beside boot, nor in /lib/modules", path, version)
}
