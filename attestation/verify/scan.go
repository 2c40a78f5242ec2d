// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// disk is what stands below the project's root at the paths of the claims.
type disk struct {
	tree.Tree
	// odd says what stands where a claim names something else, by the claim's
	// path: "a folder", "below a symbolic link (src)".
	odd map[string]string
}

// scanner collects entries, each file once, however many claims it is part of.
type scanner struct {
	root    *os.Root
	walked  string // the last folder that was walked, with a slash at its end
	odd     map[string]string
	folders map[string]string // folders looked at: empty, or why nothing is below
	entries map[string]tree.Entry
	sha256  map[string]bool // files that a claim has a SHA-256 digest of
}

// scan looks at every path of the claims, which are ordered by path, and hashes
// what is there. Symbolic links are never followed, not even in the middle of a
// path: they are what a claim must say.
func scan(ctx context.Context, root *os.Root, claims []claim) (disk, error) {
	s := scanner{root, "", map[string]string{}, map[string]string{".": ""}, map[string]tree.Entry{}, map[string]bool{}}
	for _, c := range claims {
		if !c.isFolder() && !c.SHA256.IsZero() {
			s.sha256[c.name()] = true
		}
		if s.walked != "" && strings.HasPrefix(c.Path.Path, s.walked) {
			continue // seen already, or not there
		}
		if err := s.look(ctx, c); err != nil {
			return disk{}, fmt.Errorf("looking at %q: %w", c.Path.Path, err)
		}
	}
	t, err := s.hash(ctx)
	return disk{t, s.odd}, err
}

func (s *scanner) look(ctx context.Context, c claim) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	above, err := s.above(path.Dir(c.name()))
	if err != nil {
		return err
	}
	if above != "" {
		s.odd[c.Path.Path] = above
		return nil
	}
	info, err := s.root.Lstat(filepath.FromSlash(c.name()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir() != c.isFolder():
		s.odd[c.Path.Path] = kindOf(info.Mode())
		return nil
	case info.IsDir():
		return s.walk(ctx, c)
	}
	e, err := tree.EntryOf(c.name(), info)
	if special := (*tree.SpecialFileError)(nil); errors.As(err, &special) {
		s.odd[c.Path.Path] = kindOf(info.Mode())
		return nil
	}
	s.entries[e.Path] = e
	return err
}

// above returns why nothing can stand below the folder dir: because it, or a
// folder that it is in, is something else. Empty when all are folders, or are
// not there at all.
func (s *scanner) above(dir string) (string, error) {
	if why, ok := s.folders[dir]; ok {
		return why, nil
	}
	why, err := s.above(path.Dir(dir))
	if err == nil && why == "" {
		var info fs.FileInfo
		info, err = s.root.Lstat(filepath.FromSlash(dir))
		if err == nil && !info.IsDir() {
			why = fmt.Sprintf("below %s (%s)", kindOf(info.Mode()), printable(dir))
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	s.folders[dir] = why
	return why, err
}

func (s *scanner) walk(ctx context.Context, c claim) error {
	s.walked = c.Path.Path
	entries, err := tree.Walk(ctx, s.root, c.name(), nil)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		s.entries[c.name()] = tree.Entry{Path: c.name(), Kind: tree.Dir, Perm: 0o755}
	}
	for _, e := range entries {
		e.Path = c.Path.Path + e.Path
		s.entries[e.Path] = e
	}
	return nil
}

func (s *scanner) hash(ctx context.Context) (tree.Tree, error) {
	var once, twice []tree.Entry
	for p, e := range s.entries {
		if s.sha256[p] {
			twice = append(twice, e)
		} else {
			once = append(once, e)
		}
	}
	if err := (tree.Hasher{}).Sum(ctx, s.root, "", once); err != nil {
		return tree.Tree{}, err
	}
	if err := (tree.Hasher{SHA256: true}).Sum(ctx, s.root, "", twice); err != nil {
		return tree.Tree{}, err
	}
	return tree.New(append(once, twice...))
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a special file"
	}
}

// hashFile returns the digest of a regular file, without waiting for a writer
// should it be a FIFO.
func hashFile(open func(string, int, fs.FileMode) (*os.File, error), name string) (digest.Digest, error) {
	f, err := open(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return digest.Digest{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return digest.Digest{}, err
	}
	if !info.Mode().IsRegular() {
		return digest.Digest{}, fmt.Errorf("%q is %s", name, kindOf(info.Mode()))
	}
	d, _, err := digest.Read(f)
	return d, err
}
