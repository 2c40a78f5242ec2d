// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

const (
	suffix = ".digests"
	// forget is after how many days without use a digest is forgotten, and the
	// file of a project.
	forget = 30
)

// fileName names the file of a project, by where the project is.
func fileName(project string) string {
	return digest.Of([]byte(absolute(project))).Hex()[:32] + suffix
}

func absolute(project string) string {
	if abs, err := filepath.Abs(project); err == nil {
		return abs
	}
	return project
}

func (c *Cache) project() string { return absolute(c.options.Root.Name()) }

// read takes over what is kept.
func (c *Cache) read() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.today = c.day()
	c.kept, c.stamp = c.readFile()
}

// day is today, in days since 1970.
func (c *Cache) day() uint32 { return uint32(c.options.Now().Unix() / int64(24*time.Hour/time.Second)) }

func (c *Cache) readFile() (table, tree.Stat) {
	data, stamp, err := readOwn(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return table{}, stamp
	}
	var t table
	if err == nil {
		t, err = parse(data, c.project())
	}
	if err != nil {
		c.options.Log.Warn("the digests of files read before are of no use; they are read again", "path", c.path(), "err", err)
		return table{}, stamp
	}
	return t, stamp
}

// readOwn reads a file that nobody but this user, or root, can have written.
func readOwn(path string) ([]byte, tree.Stat, error) {
	f, err := openOwn(path)
	if err != nil {
		return nil, tree.Stat{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, tree.Stat{}, err
	}
	stamp := tree.StatOf(info)
	if err := own(info); err != nil {
		return nil, stamp, err
	}
	if info.Size() > maxSize {
		return nil, stamp, fmt.Errorf("it is larger than %d MiB", maxSize>>20)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, stamp, err
}

// Save keeps what was learnt since the Cache was opened, or last saved. It does
// nothing when that is nothing. An error is no reason to end a run: the files
// are read again in the next.
func (c *Cache) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(c.saveDigests(), c.saveSummaries()); err != nil {
		return fmt.Errorf("keeping digests: %w", err)
	}
	return nil
}

func (c *Cache) saveDigests() error {
	if !c.dirty {
		return nil
	}
	if err := os.MkdirAll(c.options.Dir, 0o755); err != nil {
		return err
	}
	// What another process has saved meanwhile is kept.
	if info, err := os.Lstat(c.path()); err == nil && tree.StatOf(info) != c.stamp {
		c.kept, _ = c.readFile()
	}
	merged := c.merge()
	data, err := merged.encode(c.project())
	if err == nil {
		err = replace(c.path(), data)
	}
	if err != nil {
		return err
	}
	c.kept, c.added, c.dirty = merged, nil, false
	clear(c.fresh)
	if info, err := os.Lstat(c.path()); err == nil {
		c.stamp = tree.StatOf(info)
	}
	c.sweep()
	return nil
}

// merge returns what was kept and what came to it, less what was of no use for
// long.
func (c *Cache) merge() table {
	slices.SortFunc(c.added, func(a, b record) int { return cmp.Compare(a.path, b.path) })
	n := c.kept.len() + len(c.added)
	b := builder{records: make([]byte, 0, n*recordSize)}
	added := c.added
	for i := range c.kept.len() {
		r := c.kept.record(i)
		for len(added) > 0 && added[0].path < r.path {
			b.add(added[0])
			added = added[1:]
		}
		if len(added) > 0 && added[0].path == r.path {
			continue
		}
		if r.used = min(r.used, c.today); c.today-r.used <= forget {
			b.add(r)
		}
	}
	for _, r := range added {
		b.add(r)
	}
	return table{b.records, b.paths.String()}
}

// replace puts data in place of the file at once: whoever reads it has the old
// or the new. It may be lost when the machine stops just then; what is left
// then does not have its sum.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "saving-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// sweep removes what projects that are gone, and processes that were killed,
// have left.
func (c *Cache) sweep() {
	items, err := os.ReadDir(c.options.Dir)
	if err != nil {
		return
	}
	for _, item := range items {
		name := item.Name()
		left := strings.HasSuffix(name, suffix) || strings.HasSuffix(name, summarySuffix) || strings.HasPrefix(name, "saving-") || strings.HasPrefix(name, "clock-")
		if !left || name == c.name || name == c.summaryName() {
			continue
		}
		if info, err := item.Info(); err == nil && c.options.Now().Sub(info.ModTime()) > forget*24*time.Hour {
			_ = os.Remove(filepath.Join(c.options.Dir, name))
		}
	}
}
