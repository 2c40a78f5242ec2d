// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// Discovered inputs are what a step depends on besides its key: files of the
// project that it read without declaring them, the names in folders that it listed
// and declares nothing of, symbolic links that it followed,
// programs that it executed, the libraries that those are linked with and, of a step that was traced, files that it looked for
// in vain. They are known when it has run, are kept with its result, and decide
// whether that is used again.

// discover fills in the digests of what an executor found by path alone. What
// was changed while the step ran is left out, and the result is then not kept:
// nobody knows which form the step has seen.
func (w *walk) discover(ctx context.Context, out *executor.Outcome) error {
	out.Read, out.Programs = slices.Clone(out.Read), slices.Clone(out.Programs)
	changed, err := fill(ctx, w.run.files.digests, w.run.root, w.stamp, out.Read, func(p string) string { return p })
	if err != nil {
		return fmt.Errorf("reading what the step read: %w", err)
	}
	if len(out.Programs) > 0 {
		host, err := w.run.files.host()
		if err != nil {
			return err
		}
		libraries := w.librariesOf(out.Programs)
		more, err := fill(ctx, host.digests, host.root, w.stamp, out.Programs, hostPath)
		if err == nil {
			var changed []string
			changed, err = fill(ctx, host.digests, host.root, w.stamp, libraries, hostPath)
			more = append(more, changed...)
		}
		if err != nil {
			return fmt.Errorf("reading the programs that the step executed: %w", err)
		}
		w.libraries = filesOf(digested(libraries))
		for _, p := range more {
			if !w.ownProgram(p) {
				changed = append(changed, p)
			}
		}
	}
	out.Read, out.Programs = digested(out.Read), digested(out.Programs)
	listed, moved := w.list(out.Listed)
	w.listed, changed = listed, append(changed, moved...)
	if len(changed) > 0 {
		w.changed = true
		w.warn("the result is not kept, because what the step read without declaring it did not stay as it was while it ran: " + some(changed))
	}
	return nil
}

// ownProgram reports whether a program that came to be while the step ran is
// most likely the step's: one in a cache of the home, or one that is gone.
func (w *walk) ownProgram(p string) bool {
	if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	for _, v := range w.run.Environ {
		if home, ok := strings.CutPrefix(v, "HOME="); ok && home != "" && strings.HasPrefix(p, filepath.Clean(home)+"/") {
			return true
		}
	}
	return false
}

func hostPath(p string) string { return strings.TrimPrefix(p, "/") }

// fill sets the digests of files that have none, and returns those that were
// changed at or after a time, or are gone: they keep none.
func fill(ctx context.Context, digests *statcache.Cache, root *os.Root, since int64, files []executor.File, name func(string) string) (changed []string, err error) {
	var found tree.Found
	var places []int
	for i, f := range files {
		if !f.Digest.IsZero() {
			continue
		}
		info, err := root.Lstat(filepath.FromSlash(name(f.Path)))
		if err != nil || !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
			changed = append(changed, f.Path)
			continue
		}
		stat := tree.StatOf(info)
		if stat.Ctime >= since {
			changed = append(changed, f.Path)
			continue
		}
		if !info.Mode().IsRegular() {
			target, err := root.Readlink(filepath.FromSlash(name(f.Path)))
			if err != nil {
				changed = append(changed, f.Path)
				continue
			}
			files[i].Digest = digest.Of([]byte(target))
			continue
		}
		places = append(places, i)
		found.Entries = append(found.Entries, tree.Entry{Path: name(f.Path), Kind: tree.File, Perm: uint32(info.Mode().Perm()), Size: info.Size()})
		found.Stats = append(found.Stats, stat)
	}
	if len(places) == 0 {
		return changed, nil
	}
	if err := digests.Sum(ctx, found); err != nil {
		return nil, err
	}
	for n, i := range places {
		files[i].Digest = found.Entries[n].Digest
	}
	return changed, nil
}

func digested(files []executor.File) []executor.File {
	var all []executor.File
	for _, f := range files {
		if !f.Digest.IsZero() {
			all = append(all, f)
		}
	}
	return all
}

// outdated says which discovered input of a kept result is another one now, or
// nothing.
func (w *walk) outdated(ctx context.Context, made stepFacts) string {
	if changed := differing(ctx, w.run.files.digests, w.run.root, made.Read, func(p string) string { return p }); len(changed) > 0 {
		return "undeclared input changed: " + some(changed)
	}
	if changed := w.relisted(made); len(changed) > 0 {
		return "other files in a folder that is not declared: " + some(changed)
	}
	if appeared := w.appeared(made); len(appeared) > 0 {
		return "there now, and looked for in vain before: " + some(appeared)
	}
	if why := w.elsewhere(made); why != "" {
		return why
	}
	if len(made.Programs)+len(made.Libraries) == 0 {
		return ""
	}
	host, err := w.run.files.host()
	if err != nil {
		return "the programs of the last run cannot be looked at: " + err.Error()
	}
	begun := w.run.files.begun.Load()
	if changed := host.differing(ctx, made.Programs, begun); len(changed) > 0 {
		return "program changed: " + some(changed)
	}
	if changed := host.differing(ctx, made.Libraries, begun); len(changed) > 0 {
		return "library of a program changed: " + some(changed)
	}
	return ""
}

// appeared returns what is there of the paths that the step looked for in vain. A
// step that saw its inputs and nothing else of the project will not see it either.
func (w *walk) appeared(made stepFacts) []string {
	if made.Strict {
		return nil
	}
	var all []string
	for _, p := range made.Missing {
		if _, err := w.run.root.Lstat(filepath.FromSlash(p)); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// differing returns the paths of the files that do not hold what they held.
func differing(ctx context.Context, digests *statcache.Cache, root *os.Root, files []receipt.File, name func(string) string) []string {
	now := make([]executor.File, len(files))
	for i, f := range files {
		now[i].Path = f.Path
	}
	const never = 1<<63 - 1
	changed, err := fill(ctx, digests, root, never, now, name)
	if err != nil {
		return paths(files) // they cannot be read; nobody may say that they are the same
	}
	if len(changed) > 0 {
		return changed
	}
	for i, f := range files {
		if now[i].Digest != f.Hash {
			changed = append(changed, f.Path)
		}
	}
	return changed
}
