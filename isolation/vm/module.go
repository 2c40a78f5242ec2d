// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule is more than any module is long, decompressed.
const maxModule = 64 << 20

// needed are the modules that every machine needs, network those that one with
// a network device needs besides. What they depend on, they say themselves.
func needed() []string  { return []string{"virtio_mmio", "virtio_console", "virtiofs"} }
func network() []string { return []string{"virtio_net"} }

// cuse is what a machine with a seed needs besides. Not every kernel has it.
const cuse = "cuse"

// module is one module, ready to be loaded.
type module struct {
	name string
	text []byte
}

// shelf is a kernel's modules.
type shelf struct {
	files   map[string]string // path by name, in the folder
	builtin map[string]bool   // those that are part of the kernel
}

// openShelf lists a kernel's modules.
func openShelf(k Kernel) (*shelf, error) {
	s := &shelf{files: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(filepath.Join(k.Modules, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(d.Name(), ".ko"); err == nil && ok && d.Type().IsRegular() {
			s.files[plainName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the kernel's modules: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(k.Modules, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing what is part of the kernel: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(line)), ".ko")
		s.builtin[plainName(name)] = true
	}
	return s, nil
}

// plainName is a module's name as the kernel writes it: files may have dashes.
func plainName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// has reports whether the kernel has a module.
func (s *shelf) has(name string) bool { return s.builtin[name] || s.files[name] != "" }

// take returns the named modules and what they depend on, in the order in which
// they are to be loaded, each once.
func (s *shelf) take(names []string) ([]module, error) {
	var list []module
	var add func(name string, above []string) error
	add = func(name string, above []string) error {
		name = plainName(name)
		if s.builtin[name] || slices.ContainsFunc(list, func(m module) bool { return m.name == name }) {
			return nil
		}
		if slices.Contains(above, name) {
			return fmt.Errorf("module %s depends on itself", name)
		}
		path, ok := s.files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		text, err := readModule(path)
		if err != nil {
			return err
		}
		depends, err := dependencies(text)
		if err != nil {
			return fmt.Errorf("reading module %s: %w", path, err)
		}
		for _, d := range depends {
			if err := add(d, append(above, name)); err != nil {
				return err
			}
		}
		list = append(list, module{name: name, text: text})
		return nil
	}
	for _, name := range names {
		if err := add(name, nil); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readModule reads a module as the kernel takes it, without the compression
// that distributions use.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain := io.Reader(f)
	switch filepath.Ext(path) {
	case ".xz":
		plain, err = xz.NewReader(f)
	case ".gz":
		plain, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f); err == nil {
			defer d.Close()
			plain = d
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxModule+1))
	if err == nil && len(text) > maxModule {
		err = fmt.Errorf("it is larger than %d bytes", maxModule)
	}
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", path, err)
	}
	return text, nil
}

// dependencies are the modules that a module says must be loaded before it.
func dependencies(text []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
