// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

const (
	manyFiles = 100_000
	largeSize = 2_000_000_000
)

// hash measures how fast content gets its digest that is not known yet.
func (b *bench) hash(ctx context.Context) error {
	dir, done, err := b.folder("hash")
	defer done()
	if err != nil {
		return err
	}
	// The folder is the project's only input, next to the file that says so.
	in := filepath.Join(dir, "in")
	yaml := "version: \"0.1\"\nname: bench\nsteps:\n  hash: {run: [\"true\"], inputs: [in/]}\n"
	if err := errors.Join(writeTexts(dir, map[string]string{"attest.yaml": yaml}), os.Mkdir(in, 0o755)); err != nil {
		return err
	}
	if err := writeLarge(filepath.Join(in, "large"), largeSize); err != nil {
		return err
	}
	if err := b.sameDigest(ctx, filepath.Join(in, "large")); err != nil {
		return err
	}
	b3sum := []string{b.peers["b3sum"], filepath.Join(in, "large")}
	if err := b.hashBoth(ctx, "2 GB file", dir, b.running(ctx, "b3sum", dir, b3sum...)); err != nil {
		return err
	}
	if err := os.RemoveAll(in); err != nil {
		return err
	}
	if err := writeFiles(in, manyFiles, fileSize); err != nil {
		return err
	}
	return b.hashBoth(ctx, "100,000 files of 4 KB", dir, b.b3sumMany(ctx, in))
}

// hashBoth measures with content in the system's cache, and with content that
// the disk has to give, where this user may empty the cache.
func (b *bench) hashBoth(ctx context.Context, what, dir string, b3sum *series) error {
	syscall.Sync()
	if err := hashFolder(ctx, filepath.Join(dir, "in")); err != nil { // reads all of it
		return err
	}
	if err := b.hashIn(ctx, what, dir, b3sum, nil); err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		fmt.Printf("\n%s from the disk: not measured, only root can empty the system's cache\n", what)
		return nil
	}
	b3sum.times = nil
	return b.hashIn(ctx, what+" from the disk", dir, b3sum, dropCaches)
}

func (b *bench) hashIn(ctx context.Context, what, dir string, b3sum *series, prepare func() error) error {
	whole := b.running(ctx, "attest run of one step true, nothing known", dir, b.attest, "run")
	whole.prepare = func() error {
		err := os.RemoveAll(filepath.Join(dir, ".attest"))
		if prepare != nil {
			err = errors.Join(err, prepare())
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	alone := b.running(ctx, "attest's walk and hashing alone, a program", dir, self, hashCommand, filepath.Join(dir, "in"))
	alone.prepare, b3sum.prepare = prepare, prepare
	all := []*series{whole, alone, b3sum}
	if b.peers["b3sum"] == "" {
		all = all[:2]
	}
	if err := takeTurns(b.slow, all...); err != nil {
		return err
	}
	table("Hashing: "+what, all...)
	b.atMost(what+", whole run", whole, 1, b3sum)
	b.atMost(what+", hashing alone", alone, 1, b3sum)
	return nil
}

// b3sumMany is b3sum on all files of a folder. Finding them is not measured.
func (b *bench) b3sumMany(ctx context.Context, in string) *series {
	return &series{name: "xargs -0 b3sum", measure: func() (time.Duration, error) {
		list, err := filepath.Glob(filepath.Join(in, "*", "*"))
		if err != nil {
			return 0, err
		}
		cmd := b.command(ctx, in, "xargs", "-0", b.peers["b3sum"])
		cmd.Stdin = strings.NewReader(strings.Join(list, "\x00"))
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		defer null.Close()
		cmd.Stdout = null
		return timed(cmd)
	}}
}

// sameDigest makes sure that both compute the same thing.
func (b *bench) sameDigest(ctx context.Context, file string) error {
	if b.peers["b3sum"] == "" {
		return nil
	}
	theirs, err := b.do(ctx, "", b.peers["b3sum"], "--no-names", file)
	if err != nil {
		return err
	}
	t, err := scan(ctx, filepath.Dir(file))
	if err != nil {
		return err
	}
	if ours := t.Entries()[0].Digest.Hex(); ours != strings.TrimSpace(theirs) {
		return fmt.Errorf("b3sum says %s, attest %s", theirs, ours)
	}
	return nil
}

// hashCommand has this program walk a folder and hash what it finds.
const hashCommand = "hash-folder"

func hashFolder(ctx context.Context, dir string) error {
	_, err := scan(ctx, dir)
	return err
}

func scan(ctx context.Context, dir string) (tree.Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return tree.Tree{}, err
	}
	defer root.Close()
	return tree.Hasher{}.Scan(ctx, root, ".", func(string, bool) bool { return false })
}

// dropCaches empties the system's cache of files, so that the disk is asked.
func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
