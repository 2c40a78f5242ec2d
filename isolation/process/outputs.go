// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// untie says whether moved files are made independent of what stays behind:
// no hard link ties them to it, no special bit comes along.
type untie bool

const (
	asItIs untie = false
	untied untie = true
)

// setAside moves the outputs that stand in the project from earlier to the
// folder aside, at their paths relative to the project.
func setAside(ctx context.Context, root *os.Root, job executor.Job, aside string) error {
	entries, _, err := plan.MatchOutputs(ctx, root, job.Outputs)
	if err != nil {
		return fmt.Errorf("moving earlier outputs aside: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := os.Mkdir(aside, privateDir); err != nil {
		return fmt.Errorf("moving earlier outputs aside: %w", err)
	}
	if err := move(ctx, job.Root, aside, entries, asItIs); err != nil {
		return fmt.Errorf("moving earlier outputs aside: %w", err)
	}
	return prune(root, entries, job.Outputs)
}

// collect moves what the command left and the job declares to Job.Staging. root
// is the folder from, laid out like the project.
func collect(ctx context.Context, root *os.Root, job executor.Job, from string) error {
	entries, _, err := plan.MatchOutputs(ctx, root, job.Outputs)
	if err != nil {
		return err
	}
	if err := move(ctx, from, job.Staging, entries, untied); err != nil {
		// Half of the outputs would look like all of them.
		return errors.Join(fmt.Errorf("collecting outputs: %w", err), empty(job.Staging))
	}
	return prune(root, entries, job.Outputs)
}

// discard removes what a command that did not succeed left at its outputs. What
// cannot be removed is left: it harms nobody, and the next run sets it aside.
func discard(ctx context.Context, root *os.Root, job executor.Job) {
	entries, _, err := plan.MatchOutputs(ctx, root, job.Outputs)
	if err != nil {
		return
	}
	for _, e := range entries {
		_ = root.Remove(filepath.FromSlash(e.Path))
	}
	_ = prune(root, entries, job.Outputs)
}

// PutBack moves everything in the folder aside back to the project, over what
// stands there, and removes the folder; that it is not there is no error.
//
// [Executor.Run] moves outputs from earlier to Job.Staging with ".aside" after
// its name, at their own paths. When it returns with exit code 0 they are still
// there, for the caller to remove or, where the step comes to nothing after all,
// to put back with this function; so does whoever finds such a folder of a run
// that was killed.
func PutBack(project, aside string) error {
	folder, err := os.OpenRoot(aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting earlier outputs back: %w", err)
	}
	defer folder.Close()
	ctx := context.Background() // it is short, and half of it is worse than late
	entries, err := tree.Walk(ctx, folder, "", nil)
	if err == nil {
		err = makeWay(project, entries)
	}
	if err == nil {
		err = move(ctx, aside, project, entries, asItIs)
	}
	if err == nil {
		err = removeAll(aside)
	}
	if err != nil {
		return fmt.Errorf("putting earlier outputs back from %s: %w", aside, err)
	}
	return nil
}

// makeWay removes what stands in the project where the entries are to go and
// could not be replaced by renaming.
func makeWay(project string, entries []tree.Entry) error {
	root, err := os.OpenRoot(project)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, e := range entries {
		for p := e.Path; p != "."; p = path.Dir(p) {
			name := filepath.FromSlash(p)
			info, err := root.Lstat(name)
			folder := p != e.Path || e.Kind == tree.Dir
			if err != nil || info.IsDir() == folder {
				continue // nothing there, or nothing in the way
			}
			if err := root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// prune removes the folders that lost all their entries, as far as a pattern
// names them or something above them literally: those are the step's own. Other
// folders may be in use by a step that runs at the same time.
func prune(root *os.Root, entries []tree.Entry, outputs []pipeline.Pattern) error {
	folders := map[string]bool{}
	for _, e := range entries {
		for dir := path.Dir(e.Path); dir != "." && owned(dir, outputs); dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	ordered := make([]string, 0, len(folders))
	for dir := range folders {
		ordered = append(ordered, dir)
	}
	slices.Sort(ordered)
	for _, dir := range slices.Backward(ordered) {
		err := root.Remove(filepath.FromSlash(dir))
		if err != nil && !errors.Is(err, fs.ErrExist) && !notEmpty(err) {
			return fmt.Errorf("removing an empty output folder: %w", err)
		}
	}
	return nil
}

func owned(dir string, outputs []pipeline.Pattern) bool {
	return slices.ContainsFunc(outputs, func(p pipeline.Pattern) bool {
		return !p.Exclude && !p.Glob && (dir == p.Text || strings.HasPrefix(dir, p.Text+"/"))
	})
}

// empty removes what is in the folder, not the folder.
func empty(dir string) error {
	items, err := os.ReadDir(dir)
	for _, item := range items {
		err = errors.Join(err, removeAll(filepath.Join(dir, item.Name())))
	}
	return err
}

// removeAll is os.RemoveAll for trees that may hold folders closed to writing.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, privateDir)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
