// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// restoreSteps copies its input: a step sees nothing else of the folders for
// temporary files. Runs with nothing but that to look at take some hundredths of a
// second of what is measured.
const restoreSteps = `version: "0.1"
name: bench
steps:
  load: {run: [cp, -r, load, out], inputs: [load/], outputs: [out/]}
`

// restore measures how fast outputs come back that were deleted: 1 GB in 10,000
// files, as the cache keeps what is in use, and compressed, as what nobody used for
// two days. The goal is for the first.
func (b *bench) restore(ctx context.Context) error {
	dir, done, err := b.folder("restore")
	defer done()
	if err != nil {
		return err
	}
	if err := writeFiles(filepath.Join(dir, "load"), 10_000, 100_000); err != nil {
		return err
	}
	if err := writeTexts(dir, map[string]string{"attest.yaml": restoreSteps}); err != nil {
		return err
	}
	first := b.running(ctx, "attest run, the first: step, and keeping its outputs", dir, b.attest, "run")
	alone := b.running(ctx, "the step's command alone", dir, "cp", "-r", "load", "alone")
	alone.prepare = absent(filepath.Join(dir, "alone"))
	first.prepare = absent(filepath.Join(dir, "out"))
	if err := takeTurns(1, alone, first); err != nil {
		return err
	}
	if err := absent(filepath.Join(dir, "alone"))(); err != nil {
		return err
	}
	table("Storing 1 GB in 10,000 files", first, alone)
	if err := mustBePacked(dir, 0); err != nil {
		return err
	}
	ours, theirs, err := b.restoring(ctx, dir)
	if err != nil {
		return err
	}
	table("Restoring 1 GB in 10,000 files, kept today", ours, theirs)
	b.atMost("restoring 1 GB", ours, 1.3, theirs)
	if err := b.twoDaysLater(ctx, dir); err != nil {
		return err
	}
	if ours, theirs, err = b.restoring(ctx, dir); err != nil {
		return err
	}
	table("Restoring 1 GB in 10,000 files, compressed: not used for two days. No goal", ours, theirs)
	return nil
}

// restoring measures restoring beside copying, in turns.
func (b *bench) restoring(ctx context.Context, dir string) (ours, theirs *series, err error) {
	out, second := filepath.Join(dir, "out"), filepath.Join(dir, "copy")
	ours = b.running(ctx, "attest run, outputs deleted before", dir, b.attest, "run", "--expect-cached")
	ours.prepare = absent(out)
	theirs = b.running(ctx, "cp -r", dir, "cp", "-r", "load", second)
	theirs.prepare = absent(second)
	if err := takeTurns(b.slow, ours, theirs); err != nil {
		return nil, nil, err
	}
	if _, err := b.do(ctx, dir, "diff", "-r", "load", out); err != nil {
		return nil, nil, err
	}
	return ours, theirs, absent(second)()
}

// absent removes path. What was written before is on the disk before something is
// measured, and neither side waits for the disk to have what it writes.
func absent(path string) func() error {
	return func() error {
		err := os.RemoveAll(path)
		syscall.Sync()
		return err
	}
}

// twoDaysLater makes what is kept as old as if nobody had used it for two days, and
// has it tidied.
func (b *bench) twoDaysLater(ctx context.Context, dir string) error {
	cache := filepath.Join(dir, ".attest", "cache")
	then := time.Now().Add(-48 * time.Hour)
	err := filepath.WalkDir(filepath.Join(cache, "receipts"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err := errors.Join(err, os.Remove(filepath.Join(cache, "tidied"))); err != nil {
		return err
	}
	tidy := b.running(ctx, "attest cache gc", dir, b.attest, "cache", "gc")
	if err := takeTurns(1, tidy); err != nil {
		return err
	}
	table("Compressing what is kept", tidy)
	return mustBePacked(dir, 10_000)
}

// mustBePacked makes sure that the cache of a project keeps so many outputs
// compressed: what is measured is what it is called. The list of inputs is compressed
// as well.
func mustBePacked(dir string, outputs int) error {
	count := 0
	err := filepath.WalkDir(filepath.Join(dir, ".attest", "cache", "outputs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".zst") {
			count++
		}
		return err
	})
	if err == nil && (count < outputs || count > 0 && outputs == 0) {
		err = fmt.Errorf("%d files are kept compressed, not %d", count, outputs)
	}
	return err
}
