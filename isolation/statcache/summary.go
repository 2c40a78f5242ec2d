// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Summary is what follows from a set of files, worked out when it was looked at
// before: for a run in which nothing changed there is no need to look at the
// digest of each of a hundred thousand files.
type Summary struct {
	// Tree is the digest of the files' tree, or of that of those which count.
	Tree digest.Digest
	// Digests are those of the files themselves, in the order of their entries,
	// zero for what is no file. Empty for a set that nobody needs them of.
	Digests []digest.Digest
	// Cover is how a receipt names the files, which depends on what else stands
	// in the folders.
	Cover   []receipt.Path
	Folders []tree.Folder
}

// View is how a set of files looks, without their content: what a Summary is
// found by.
type View struct {
	// Name says whose files these are: those that step of that pipeline reads.
	Name  string
	Found tree.Found
	print digest.Digest // zero where a file says nothing of itself
}

// A View is hashed in pieces that stay in the processor's cache.
const (
	viewBuffer = 16 << 10
	longName   = 1 << 10
	viewRecord = 128 // about as long as what a View says of one file
)

// View takes the fingerprint of what a walk of the project's folder found. It
// reads the targets of symbolic links, which nothing else tells, and fills them
// in.
func (c *Cache) View(name string, found tree.Found) (View, error) {
	v := View{Name: name, Found: found}
	var h *digest.Hash // nil while all fits into the buffer
	buf := make([]byte, 0, min(viewBuffer, viewRecord*(len(found.Entries)+1)))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(found.Entries)))
	for i := range found.Entries {
		e, s := &found.Entries[i], &found.Stats[i]
		buf = appendText(buf, e.Path)
		buf = append(buf, byte(e.Kind))
		buf = binary.LittleEndian.AppendUint32(buf, e.Perm)
		switch e.Kind {
		case tree.File:
			if s.IsZero() {
				return v, nil
			}
			buf = appendStat(buf, *s)
		case tree.Symlink:
			target, err := c.options.Root.Readlink(filepath.FromSlash(e.Path))
			if err != nil {
				return v, err
			}
			e.Target, e.Size, e.Digest = target, int64(len(target)), digest.Of([]byte(target))
			buf = appendText(buf, target)
		}
		if len(buf) > viewBuffer-longName {
			if h == nil {
				h = digest.NewHash(digest.BLAKE3)
			}
			_, _ = h.Write(buf)
			buf = buf[:0]
		}
	}
	if h == nil {
		v.print = digest.Of(buf)
		return v, nil
	}
	_, _ = h.Write(buf)
	v.print = h.Digest()
	return v, nil
}

// Summary returns what was kept for the files, if they look as they did then.
// It says what reading them all again would say, for the same reasons as a
// single digest does. Whether Cover is still right is for [Cache.Covered] to say.
func (c *Cache) Summary(v View) (Summary, bool) {
	c.loadSummaries()
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.summaries[v.Name]
	if !ok || v.print.IsZero() || k.print != v.print {
		return Summary{}, false
	}
	if k.used != c.today {
		k.used, c.summariesDirty = c.today, true
	}
	return k.Summary, true
}

// Covered reports whether the folders that Cover depends on have in them what
// they had.
func (c *Cache) Covered(s Summary) bool {
	for _, f := range s.Folders {
		if f.Stat.IsZero() || c.folder(f.Path) != f.Stat {
			return false
		}
	}
	return true
}

// folder returns the Stat of a folder of the project. None that is above it can
// have been replaced by a link without being among those asked about: whoever
// lists a folder for a receipt has listed those above it.
func (c *Cache) folder(p string) tree.Stat {
	info, err := os.Lstat(filepath.Join(c.project(), filepath.FromSlash(p)))
	if err != nil || !info.IsDir() {
		return tree.Stat{}
	}
	return tree.StatOf(info)
}

// Summarise keeps a Summary, if all digests of the files are known for good, so
// that whatever changes one of them changes the View. Of s.Folders the paths
// alone are read; they were listed after the moment (see [Cache.Now]). Where one of them was
// changed too shortly before it, nothing is kept.
func (c *Cache) Summarise(v View, s Summary, m Moment) {
	if v.print.IsZero() || v.Found.Len() == 0 || !c.knows(v.Found) {
		return
	}
	folders := make([]tree.Folder, len(s.Folders))
	for i, f := range s.Folders {
		stat := c.folder(f.Path)
		if stat.IsZero() || !m.settled(stat) {
			return
		}
		folders[i] = tree.Folder{Path: f.Path, Stat: stat}
	}
	s.Folders = folders
	c.loadSummaries()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summaries[v.Name] = &keptSummary{s, v.print, c.today}
	c.summariesDirty = true
}

// knows reports whether the digests of all files are among those remembered.
func (c *Cache) knows(found tree.Found) bool {
	c.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	next := 0
	for i := range found.Entries {
		e := &found.Entries[i]
		if e.Kind != tree.File {
			continue
		}
		var stat tree.Stat
		if place, is := c.fresh[e.Path]; is {
			stat = c.added[place].stat
		} else {
			at, ok := c.kept.find(e.Path, next)
			if !ok {
				return false
			}
			stat, next = c.kept.record(at).stat, at+1
		}
		if stat != found.Stats[i] {
			return false
		}
	}
	return true
}

// Fill sets the digests of the files that the Summary has them for.
func (s Summary) Fill(found tree.Found) bool {
	if len(s.Digests) != len(found.Entries) {
		return false
	}
	for i := range found.Entries {
		if e := &found.Entries[i]; e.Kind == tree.File {
			e.Size, e.Digest = found.Stats[i].Size, s.Digests[i]
		}
	}
	return true
}

// keptSummary is a Summary in a file.
type keptSummary struct {
	Summary
	print digest.Digest
	used  uint32 // the day of its last use
}

const summarySuffix = ".summaries"

func (c *Cache) summaryName() string { return strings.TrimSuffix(c.name, suffix) + summarySuffix }

func (c *Cache) summaryPath() string { return filepath.Join(c.options.Dir, c.summaryName()) }

// readSummaries takes over what is kept.
func (c *Cache) readSummaries() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.today = c.day()
	c.summaries = map[string]*keptSummary{}
	data, _, err := readOwn(c.summaryPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var kept map[string]*keptSummary
	if err == nil {
		kept, err = parseSummaries(data, c.project())
	}
	if err != nil {
		c.options.Log.Warn("what was known of a step's files is of no use", "path", c.summaryPath(), "err", err)
		return
	}
	c.summaries = kept
}

// saveSummaries is part of Save. Of what two processes save, the last is kept.
func (c *Cache) saveSummaries() error {
	if !c.summariesDirty {
		return nil
	}
	for name, k := range c.summaries {
		if k.used > c.today || c.today-k.used > forget {
			delete(c.summaries, name)
		}
	}
	if err := os.MkdirAll(c.options.Dir, 0o755); err != nil {
		return err
	}
	data := encodeSummaries(c.summaries, c.project())
	if len(data) > maxSize {
		return fmt.Errorf("there is more than %d MiB to remember", maxSize>>20)
	}
	c.summariesDirty = false
	return replace(c.summaryPath(), data)
}
