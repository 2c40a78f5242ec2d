// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// restore measures how fast outputs come back that were deleted: 1 GB in 10,000
// files, in the form in which the cache keeps them, and compressed.
func (b *bench) restore(ctx context.Context) error {
	dir, done, err := b.folder("restore")
	defer done()
	if err != nil {
		return err
	}
	for _, form := range []struct {
		name     string
		compress bool
	}{{"cache not compressed", false}, {"cache compressed", true}} {
		if err := b.restoreFrom(ctx, filepath.Join(dir, fmt.Sprint(form.compress)), form.name, form.compress); err != nil {
			return err
		}
	}
	return nil
}

// restoreFrom measures in project. What the step copies is its input: a step sees
// nothing else of the folders for temporary files. Runs with nothing but that to
// look at take some hundredths of a second of what is measured.
func (b *bench) restoreFrom(ctx context.Context, project, form string, compress bool) error {
	if err := writeFiles(filepath.Join(project, "load"), 10_000, 100_000); err != nil {
		return err
	}
	defer os.RemoveAll(project)
	yaml := fmt.Sprintf(`version: "0.1"
name: bench
cache: {compression: %v}
steps:
  load: {run: [cp, -r, load, out], inputs: [load/], outputs: [out/]}
`, compress)
	if err := writeTexts(project, map[string]string{"attest.yaml": yaml}); err != nil {
		return err
	}
	if _, err := b.do(ctx, project, b.attest, "run"); err != nil {
		return err
	}
	out, second := filepath.Join(project, "out"), filepath.Join(project, "copy")
	// What was written before is on the disk before something is measured, and
	// neither side waits for the disk to have what it writes.
	absent := func(path string) func() error {
		return func() error {
			err := os.RemoveAll(path)
			syscall.Sync()
			return err
		}
	}
	ours := b.running(ctx, "attest run, outputs deleted before", project, b.attest, "run", "--expect-cached")
	ours.prepare = absent(out)
	theirs := b.running(ctx, "cp -r", project, "cp", "-r", "load", second)
	theirs.prepare = absent(second)
	if err := takeTurns(b.slow, ours, theirs); err != nil {
		return err
	}
	if _, err := b.do(ctx, project, "diff", "-r", "load", out); err != nil {
		return err
	}
	table("Restoring 1 GB in 10,000 files, "+form, ours, theirs)
	b.atMost("restoring 1 GB, "+form, ours, 1.3, theirs)
	return nil
}
