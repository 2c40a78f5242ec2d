// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/util/db"
	"github.com/moby/buildkit/util/db/boltutil"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// The databases of the engine do not wait for the disk: a step commits to them
// a few dozen times, and on many a disk each wait takes as long as the step.
// What the kernel has been given survives the death of the engine, kill -9
// included, but not that of the machine. So a mark lies in the state folder
// while the engine runs, with the identity of the machine's boot. It is removed
// after everything was written to the disk. An engine that finds the mark of
// another boot starts with empty stores: they may be damaged, and everything
// in them can be had again. (BuildKit itself, whose databases do wait, does not
// wait for the files that they speak of.)

const bootID = "/proc/sys/kernel/random/boot_id"

// markRunning starts a run: it throws away what a crash of the machine may
// have damaged, and leaves the mark.
func markRunning(files launch.Files) (discarded bool, err error) {
	text, err := os.ReadFile(bootID)
	if err != nil {
		return false, fmt.Errorf("identifying this boot: %w", err)
	}
	boot := strings.TrimSpace(string(text))
	path := markPath(files)
	mark, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && string(mark) != boot {
		if err := os.RemoveAll(files.Root); err != nil {
			return false, fmt.Errorf("discarding what a crash of the machine left: %w", err)
		}
		discarded = true
	}
	if err := os.MkdirAll(files.Root, 0o700); err != nil {
		return discarded, err
	}
	return discarded, writeDurably(path, boot)
}

// markEnded ends a run whose stores are closed: what is in them is written to
// the disk, and then the mark removed.
func markEnded(files launch.Files) error {
	dir, err := os.Open(files.Root)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("writing the stores to the disk: %w", err)
	}
	return os.Remove(markPath(files))
}

func markPath(files launch.Files) string { return filepath.Join(files.StateDir, "engine.boot") }

// writeDurably writes a file that is there, whole, after a crash.
func writeDurably(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// openBolt opens a database that does not wait for the disk.
func openBolt(path string) (*boltutil.DB, error) {
	return boltutil.Open(path, 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType, NoFreelistSync: true, NoSync: true,
	})
}

// noSync spares a database that BuildKit has opened the wait for the disk.
func noSync(store db.Transactor) error {
	return store.View(func(tx *bolt.Tx) error {
		tx.DB().NoSync = true
		return nil
	})
}
