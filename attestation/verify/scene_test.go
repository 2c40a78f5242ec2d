// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

// scene is a project on disk with the receipt of a run of it.
type scene struct {
	testing.TB
	dir  string
	r    *receipt.Receipt
	data []byte // the receipt as it is handed to verification
}

// newScene is honest: its receipt is signed with key 1 and verifies.
func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{TB: t, dir: t.TempDir()}
	s.r = receipttest.Project(t, s.dir)
	s.sign(receipttest.Key(1))
	return s
}

// sign signs the receipt as it is now.
func (s *scene) sign(key keys.Signer) {
	s.Helper()
	s.do(receipt.Sign(s.r, key))
	s.marshal()
}

// marshal writes the receipt as it is now, with whatever signature it has.
func (s *scene) marshal() {
	s.Helper()
	data, err := receipt.Marshal(s.r)
	s.do(err)
	s.data = data
}

// edit replaces text of the receipt without signing it again.
func (s *scene) edit(old, new string) {
	s.Helper()
	if !bytes.Contains(s.data, []byte(old)) {
		s.Fatalf("no %q in the receipt:\n%s", old, s.data)
	}
	s.data = bytes.Replace(s.data, []byte(old), []byte(new), 1)
}

func (s *scene) do(errs ...error) {
	s.Helper()
	if err := errors.Join(errs...); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name, content string) {
	s.Helper()
	s.do(os.MkdirAll(filepath.Dir(s.path(name)), 0o755), os.WriteFile(s.path(name), []byte(content), 0o644))
}

// archive describes the scene for everybody: files, receipt, and in the comment
// what txtar has no room for.
func (s *scene) archive(comment string) []byte {
	s.Helper()
	a := &txtar.Archive{Comment: []byte(comment)}
	note := func(words ...string) {
		a.Comment = append(a.Comment, strings.Join(words, " ")+"\n"...)
	}
	a.Files = []txtar.File{{Name: "receipt.yaml", Data: s.data}}
	s.do(filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return err
		}
		name, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if below, err := os.ReadDir(path); err != nil || len(below) > 0 {
				return err
			}
			note("folder:", name)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			note("link:", name, target)
			return err
		case d.Type() == fs.ModeNamedPipe:
			note("fifo:", name)
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode()&0o100 != 0 {
				note("executable:", name)
			}
			data, err := os.ReadFile(path)
			a.Files = append(a.Files, txtar.File{Name: "project/" + name, Data: data})
			return err
		}
		return nil
	}))
	return txtar.Format(a)
}

// unpack is the way back: it returns the receipt and the comment's words by
// their first, a colon cut off.
func unpack(t testing.TB, file, dir string) ([]byte, map[string][]string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{TB: t, dir: dir}
	var data []byte
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "project/"); ok {
			s.write(name, string(f.Data))
		} else {
			data = f.Data
		}
	}
	notes := map[string][]string{}
	for line := range strings.Lines(string(a.Comment)) {
		what, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		notes[what] = append(notes[what], rest)
		name, target, _ := strings.Cut(rest, " ")
		path := s.path(name)
		switch what {
		case "executable":
			s.do(os.Chmod(path, 0o755))
		case "folder":
			s.do(os.MkdirAll(path, 0o755))
		case "link":
			s.do(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path))
		case "fifo":
			s.do(os.MkdirAll(filepath.Dir(path), 0o755), syscall.Mkfifo(path, 0o600))
		}
	}
	return data, notes
}
