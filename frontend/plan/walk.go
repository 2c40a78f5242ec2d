// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/source"
)

// walker collects the entries of a project that a rule takes. S is what the
// rule knows at a folder.
type walker[S any] struct {
	root *os.Root
	// enter, when not nil, is called at a folder with what stands in it.
	enter func(dir string, items []fs.DirEntry, at S) (S, error)
	// child decides on what stands at p, in a folder where the rule knew at.
	child func(p string, isDir bool, at S) (S, verdict)

	found tree.Found
	errs  []*source.Error
}

// verdict is what is to be done with a path.
type verdict struct {
	take    bool // it is one of the entries, should it be a file or an empty folder
	descend bool // something below it may be
	why     source.Pos
}

// maxSpecial bounds how many special files are reported.
const maxSpecial = 20

// visit looks at what stands at p.
func (w *walker[S]) visit(ctx context.Context, p string, item fs.DirEntry, at S, v verdict) error {
	if item.IsDir() && v.descend {
		empty, err := w.folder(ctx, p, at)
		if err != nil || !empty {
			return err
		}
	}
	if !v.take || item.IsDir() && !v.descend {
		return nil
	}
	info, err := item.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone between the listing and the look
	}
	if err != nil {
		return err
	}
	e, err := tree.EntryOf(p, info)
	var special *tree.SpecialFileError
	switch {
	case errors.As(err, &special):
		if len(w.errs) < maxSpecial {
			w.errs = append(w.errs, &source.Error{Pos: v.why, Msg: err.Error(), Err: errors.Join(ErrInput, err),
				Hints: []string{"remove it, or keep the step from it"}})
		}
		return nil
	case err != nil:
		return err
	}
	w.found.Entries, w.found.Stats = append(w.found.Entries, e), append(w.found.Stats, tree.StatOf(info))
	return nil
}

// folder visits what stands in a folder and reports whether that is nothing.
func (w *walker[S]) folder(ctx context.Context, dir string, at S) (empty bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	items, err := readDir(w.root, dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "." {
		return false, nil // gone between the listing and the look
	}
	if err != nil {
		return false, err
	}
	if w.enter != nil {
		if at, err = w.enter(dir, items, at); err != nil {
			return false, err
		}
	}
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	for _, item := range items {
		p := prefix + item.Name()
		next, v := w.child(p, item.IsDir(), at)
		if !v.take && !v.descend {
			continue
		}
		if err := w.visit(ctx, p, item, next, v); err != nil {
			return false, err
		}
	}
	return len(items) == 0, nil
}

func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// parent returns the folder that holds p, "." at the top.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }
