// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/glob"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// written finds out what a command wrote to an overlay.
type written struct {
	*overlay
	files    *os.Root        // the upper folder
	parents  map[string]bool // folders above outputs
	excluded []glob.Glob     // what the outputs leave out on purpose

	unexpected, modified []string
}

func (w *written) read(ctx context.Context) error {
	items, err := os.ReadDir(w.folder(stepinit.Upper))
	if err != nil || len(items) == 0 {
		return err
	}
	for _, pattern := range w.job.Outputs {
		if !pattern.Exclude {
			continue
		}
		globs, err := pattern.Globs()
		if err != nil {
			return err
		}
		w.excluded = append(w.excluded, globs...)
	}
	// Marks for files that are gone would be taken for devices.
	if err := w.gone(ctx, "."); err != nil {
		return err
	}
	if err := w.outputs(ctx); err != nil {
		return err
	}
	if err := w.rest(ctx, "."); err != nil {
		return err
	}
	slices.Sort(w.unexpected)
	slices.Sort(w.modified)
	w.unexpected, w.modified = slices.Compact(w.unexpected), slices.Compact(w.modified)
	return nil
}

// outputs moves the outputs to the staging folder.
func (w *written) outputs(ctx context.Context) error {
	entries, _, err := plan.MatchOutputs(ctx, w.files, w.job.Outputs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// The kernel's note where the file comes from means nothing elsewhere.
		_ = unix.Lremovexattr(w.upper(e.Path), "user.overlay.origin")
		for dir := path.Dir(e.Path); !w.parents[dir]; dir = path.Dir(dir) {
			w.parents[dir] = true
		}
	}
	return collect(ctx, w.files, w.job, w.folder(stepinit.Upper))
}

// gone notes what the command removed from the folder dir on, and removes the
// marks that say so.
func (w *written) gone(ctx context.Context, dir string) error {
	items, err := w.list(ctx, dir)
	if err != nil {
		return err
	}
	for _, item := range items {
		p := path.Join(dir, item.Name())
		if item.IsDir() {
			if w.opaque(p) {
				w.removed(p, true)
			}
			if err := w.gone(ctx, p); err != nil {
				return err
			}
			continue
		}
		if item.Type()&fs.ModeCharDevice == 0 {
			continue
		}
		info, err := item.Info()
		if err != nil {
			return err
		}
		if statOf(info).Rdev != 0 {
			continue
		}
		w.removed(p, false)
		if err := w.files.Remove(filepath.FromSlash(p)); err != nil {
			return err
		}
	}
	return nil
}

// list returns what is in a folder of the upper one, which the command may have
// closed.
func (w *written) list(ctx context.Context, dir string) ([]fs.DirEntry, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, err := w.files.Open(filepath.FromSlash(dir))
	if errors.Is(err, fs.ErrPermission) {
		if err := w.files.Chmod(filepath.FromSlash(dir), privateDir); err != nil {
			return nil, err
		}
		f, err = w.files.Open(filepath.FromSlash(dir))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// opaque reports whether the command put a folder in the place of the project's.
func (w *written) opaque(p string) bool {
	var value [1]byte
	n, err := unix.Lgetxattr(w.upper(p), "user.overlay.opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// removed notes that the project's p is gone: inputs that are not there any more
// were modified. Where a folder stands in the place of another one, only what
// that does not have is gone.
func (w *written) removed(p string, replaced bool) {
	if !w.saw(p) {
		return
	}
	var below []string
	if _, ok := w.job.Inputs.Find(p); ok {
		below = []string{p}
	}
	for _, e := range w.job.Inputs.Below(p).Entries() {
		below = append(below, p+"/"+e.Path)
	}
	for _, input := range below {
		if _, err := w.files.Lstat(filepath.FromSlash(input)); !replaced || err != nil {
			w.modified = append(w.modified, input)
		}
	}
	if _, err := w.root.Lstat(filepath.FromSlash(p)); err == nil && len(below) == 0 {
		w.note(p)
	}
}

// note adds p to what was not expected, unless the outputs leave it out on
// purpose.
func (w *written) note(p string) {
	// git writes to its index when it is asked for the state of the files.
	if p == ".git/index" {
		return
	}
	for _, g := range w.excluded {
		if g.Covers(p) {
			return
		}
	}
	w.unexpected = append(w.unexpected, p)
}

// rest notes what is left in the folder dir once the outputs were moved.
func (w *written) rest(ctx context.Context, dir string) error {
	items, err := w.list(ctx, dir)
	if err != nil {
		return err
	}
	for _, item := range items {
		p := path.Join(dir, item.Name())
		if err := w.one(ctx, p); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	return nil
}

func (w *written) one(ctx context.Context, p string) error {
	name := filepath.FromSlash(p)
	now, err := w.files.Lstat(name)
	if err != nil {
		return err
	}
	before, err := w.root.Lstat(name)
	if err != nil || !w.saw(p) {
		before = nil
	}
	if now.IsDir() && (w.parents[p] || before != nil && before.IsDir()) {
		return w.rest(ctx, p)
	}
	if before != nil && before.IsDir() {
		w.removed(p, true)
	}
	if before != nil && before.Mode() == now.Mode() {
		same, err := w.same(name, before, now)
		if err != nil || same {
			return err // it was opened for writing, and that was all
		}
	}
	if _, ok := w.job.Inputs.Find(p); ok {
		w.modified = append(w.modified, p)
	} else {
		w.note(p)
	}
	return nil
}

// same compares a file of the upper folder with that of the project.
func (w *written) same(name string, before, now fs.FileInfo) (bool, error) {
	switch {
	case now.Mode()&fs.ModeSymlink != 0:
		a, errA := w.root.Readlink(name)
		b, errB := w.files.Readlink(name)
		return a == b, errors.Join(errA, errB)
	case !now.Mode().IsRegular() || before.Size() != now.Size():
		return false, nil
	}
	a, err := w.root.Open(name)
	if err != nil {
		return false, nil // it is closed to this user, or has gone meanwhile
	}
	defer a.Close()
	b, err := w.files.Open(name)
	if err != nil {
		return false, nil
	}
	defer b.Close()
	return equal(a, b)
}

func equal(a, b io.Reader) (bool, error) {
	const piece = 64 << 10
	x, y := make([]byte, piece), make([]byte, piece)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errA != nil {
			if errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF) {
				return true, nil
			}
			return false, errors.Join(errA, errB)
		}
	}
}

func statOf(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
