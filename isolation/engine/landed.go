// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// listLanded looks which steps landDir knows, so that a run with nothing to do
// need not look for a file for every step.
func (w *workspace) listLanded() (map[string]bool, error) {
	items, err := os.ReadDir(w.abs(landDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(items))
	for _, item := range items {
		names[item.Name()] = true
	}
	return names, nil
}

// readLanded returns the paths that globs of the step matched when it last
// succeeded here.
func (w *workspace) readLanded(step string) ([]string, error) {
	names, err := w.landed()
	if err != nil || !names[step] {
		return nil, err
	}
	text, err := w.root.ReadFile(path.Join(landDir, step))
	if err != nil || len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), nil
}

// writeLanded is for readLanded of the next run; before is what that returned.
// It comes after the landing: a kill between the two leaves a file too many
// rather than removing one that is not the step's.
func (w *workspace) writeLanded(step string, before, paths []string) error {
	if slices.Equal(before, paths) {
		return nil
	}
	if err := w.root.MkdirAll(landDir, 0o755); err != nil {
		return err
	}
	tmp, err := w.tmp()
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range paths {
		b.WriteString(p + "\x00")
	}
	spare := path.Join(tmp, "landed-"+step)
	if err := w.root.WriteFile(spare, []byte(b.String()), 0o644); err != nil {
		return err
	}
	return w.root.Rename(spare, path.Join(landDir, step))
}
