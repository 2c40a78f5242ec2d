// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// object is an ELF file with nothing but a .modinfo.
func object(t *testing.T, info string) []byte {
	t.Helper()
	names := "\x00.modinfo\x00.shstrtab\x00"
	const head, section = 64, 64
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: uint64(head + len(info) + len(names)), Ehsize: head, Shentsize: section, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: head, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(info)), Size: uint64(len(names))},
	}
	var b bytes.Buffer
	for _, part := range []any{header, []byte(info), []byte(names), sections} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func compress(t *testing.T, ext string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	default:
		return plain
	}
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestModules takes modules out of folders as distributions make them.
func TestModules(t *testing.T) {
	for _, ext := range []string{"", ".xz", ".zst", ".gz"} {
		t.Run("ko"+ext, func(t *testing.T) {
			k := Kernel{Modules: t.TempDir()}
			write := func(name, depends string) {
				path := filepath.Join(k.Modules, "kernel", name+".ko"+ext)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				text := compress(t, ext, object(t, "license=GPL\x00depends="+depends+"\x00name="+name+"\x00"))
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write("fs/top", "middle-one,base,builtin_one")
			write("fs/middle-one", "base")
			write("drivers/base", "")
			write("lost", "nowhere")
			write("snake", "tail")
			write("tail", "snake")
			if err := os.WriteFile(filepath.Join(k.Modules, "modules.builtin"), []byte("kernel/lib/builtin-one.ko\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			shelf, err := openShelf(k)
			if err != nil {
				t.Fatal(err)
			}
			got, err := shelf.take([]string{"top", "middle_one", "builtin_one"})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range got {
				names = append(names, m.name)
				if !bytes.HasPrefix(m.text, []byte("\x7fELF")) {
					t.Errorf("%s is not as the kernel takes it", m.name)
				}
			}
			if want := []string{"base", "middle_one", "top"}; !slices.Equal(names, want) {
				t.Errorf("order %q, want %q", names, want)
			}
			for name, want := range map[string]string{"lost": "no module nowhere", "snake": "depends on itself"} {
				if _, err := shelf.take([]string{name}); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want an error with %q", name, err, want)
				}
			}
		})
	}
}
