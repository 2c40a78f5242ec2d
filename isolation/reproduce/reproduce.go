// SPDX-License-Identifier: Apache-2.0

// Package reproduce compares what a step left in two runs, bit for bit, and says
// where the two differ and what that probably comes from.
//
// Start with [Compare]. It looks into tar, gzip, zip, ar, bzip2 and Zstandard
// archives, one in the other, so that a difference is named by the file in which
// it is. What a difference comes from is a guess, made from the bytes and from
// what is known of the two runs ([World]); that there is one is not.
//
// The package starts no program and writes nothing but temporary files.
// Functions are safe for concurrent use.
package reproduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// Cause is what a difference probably comes from.
type Cause string

// The causes. A difference that none of the others explains is of an unknown one.
const (
	Timestamp   Cause = "timestamp"   // a time of day, or how long something took
	Path        Cause = "path"        // where the project lay
	Hostname    Cause = "hostname"    // the machine's name
	User        Cause = "user"        // whose files they are, and what they may be used for
	CPUs        Cause = "cpu-count"   // how many processors there were
	Links       Cause = "links"       // how many names ls says that a file has: of a folder, its file system decides
	Umask       Cause = "umask"       // permissions, in an archive or in words
	Mode        Cause = "mode"        // whether a file may be executed
	Order       Cause = "order"       // the same parts in another order
	Random      Cause = "random"      // random numbers, process numbers, addresses
	Compression Cause = "compression" // the same content, compressed differently
	Missing     Cause = "missing"     // a file of the first run alone
	Added       Cause = "added"       // a file of the second run alone
	Kind        Cause = "kind"        // a file, and a link or folder
	Unknown     Cause = "unknown"
)

// World is what is known of one of the two runs. What is zero is not looked for.
type World struct {
	Hostnames []string // what the machine was called, or may have been
	Paths     []string // absolute: where the project lay, and its folders for temporary files
	CPUs      int
	Umask     int
	Began     time.Time
	Ended     time.Time
	Booted    time.Time // when the system that the step ran on was started
}

// Side is what one run left.
type Side struct {
	Root  *os.Root  // what the paths of Files are relative to
	Files tree.Tree // with BLAKE3 digests
	World World
}

// Difference is one way in which the two differ.
type Difference struct {
	Path   string // of the file
	Inside string // the path in the archive that it is: "a.tar/b"
	// Offset is the number of the first byte that differs, from 1, in what
	// Inside names or else in the file; 0 where bytes are not the matter.
	Offset int64
	Cause  Cause
	// First and Second are what stood there, a few words each, safe to print.
	First, Second string
}

// String is one line.
func (d Difference) String() string {
	text := d.Path
	if d.Inside != "" {
		text += " (in it: " + d.Inside + ")"
	}
	if d.Offset > 0 {
		text += fmt.Sprintf(", byte %d", d.Offset)
	}
	text += ": " + string(d.Cause)
	if d.First != "" || d.Second != "" {
		text += fmt.Sprintf(": %s against %s", d.First, d.Second)
	}
	return text
}

// Most is how many differences are found before the search ends.
const Most = 20

// Compare returns the differences, ordered by path, at most [Most] of them;
// none means that the two are the same, modes included as far as they are
// evidence ([tree.Entry.Mode]). Errors are those of reading, and the cause of ctx.
func Compare(ctx context.Context, first, second Side) ([]Difference, error) {
	c := &comparison{first: first, second: second, guess: newGuess(first.World, second.World), left: maxSpent}
	return c.compare(ctx)
}

func (c *comparison) compare(ctx context.Context) ([]Difference, error) {
	a, b := c.first.Files.Entries(), c.second.Files.Entries()
	for (len(a) > 0 || len(b) > 0) && len(c.found) < Most {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			c.add(Difference{Path: a[0].Path, Cause: Missing})
			a = a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			c.add(Difference{Path: b[0].Path, Cause: Added})
			b = b[1:]
		default:
			if err := c.entries(a[0], b[0]); err != nil {
				return nil, fmt.Errorf("comparing %s: %w", a[0].Path, err)
			}
			a, b = a[1:], b[1:]
		}
	}
	return c.found[:min(len(c.found), Most)], nil
}

// comparison is one call of Compare.
type comparison struct {
	first, second Side
	guess         *guess
	found         []Difference
	left          int64 // how many bytes may still come out of archives
}

func (c *comparison) add(d Difference) { c.found = append(c.found, d) }

func (c *comparison) full() bool { return len(c.found) >= Most }

// entries compares what stands at one path.
func (c *comparison) entries(a, b tree.Entry) error {
	switch {
	case a.Kind != b.Kind:
		c.add(Difference{Path: a.Path, Cause: Kind})
		return nil
	case a.Mode() != b.Mode():
		c.add(Difference{Path: a.Path, Cause: Mode, First: fmt.Sprintf("mode %04o", a.Perm), Second: fmt.Sprintf("mode %04o", b.Perm)})
	}
	if a.Digest == b.Digest {
		return nil
	}
	at := place{path: a.Path}
	if a.Kind == tree.Symlink {
		c.bytes(at, []byte(a.Target), []byte(b.Target))
		return nil
	}
	x, err := openFile(c.first.Root, a)
	if err != nil {
		return err
	}
	defer x.close()
	y, err := openFile(c.second.Root, b)
	if err != nil {
		return err
	}
	defer y.close()
	return c.contents(at, x, y, 0)
}

// place is where the comparison is.
type place struct{ path, inside string }

func (p place) in(name string) place {
	if p.inside != "" {
		name = p.inside + "/" + name
	}
	return place{p.path, name}
}

// content is the bytes of a file, or of a part of an archive.
type content struct {
	io.ReaderAt
	size  int64
	close func()
}

func openFile(root *os.Root, e tree.Entry) (*content, error) {
	f, err := root.Open(filepath.FromSlash(e.Path))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file any more")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &content{f, info.Size(), func() { _ = f.Close() }}, nil
}

// reader reads all of it.
func (c *content) reader() io.Reader { return io.NewSectionReader(c, 0, c.size) }

// part reads at most n bytes from an offset on.
func (c *content) part(from, n int64) ([]byte, error) {
	from = max(0, min(from, c.size))
	b := make([]byte, min(n, c.size-from))
	got, err := c.ReadAt(b, from)
	if got == len(b) {
		return b, nil
	}
	return nil, err
}

// largest is up to which size two contents are held in memory to guess what
// they differ in; of larger ones, the beginning of what differs is.
const largest = 8 << 20

// contents compares two that are not the same, first as the archives that they
// may be.
func (c *comparison) contents(at place, x, y *content, depth int) error {
	offset, err := firstDifference(x, y)
	if err != nil || offset < 0 {
		return err
	}
	before := len(c.found)
	packed, err := c.archives(at, x, y, offset, depth)
	if err != nil {
		return err
	}
	if len(c.found) > before || c.full() {
		return nil
	}
	if packed {
		c.add(Difference{Path: at.path, Inside: at.inside, Offset: offset + 1, Cause: Compression})
		return nil
	}
	from := int64(0)
	if x.size > largest || y.size > largest {
		from = max(0, offset-64<<10)
	}
	a, err := x.part(from, largest)
	if err != nil {
		return err
	}
	b, err := y.part(from, largest)
	if err != nil {
		return err
	}
	c.report(at, offset+1, c.guess.causes(a, b))
	return nil
}

// bytes compares two contents that are in memory.
func (c *comparison) bytes(at place, a, b []byte) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	c.report(at, int64(i)+1, c.guess.causes(a, b))
}

func (c *comparison) report(at place, offset int64, causes []reason) {
	for _, r := range causes {
		c.add(Difference{Path: at.path, Inside: at.inside, Offset: offset, Cause: r.cause, First: r.first, Second: r.second})
	}
}

// firstDifference returns the offset of the first byte that differs, from 0, or
// -1 where there is none.
func firstDifference(x, y *content) (int64, error) {
	const step = 1 << 20
	a, b := make([]byte, step), make([]byte, step)
	for at := int64(0); ; at += step {
		n := min(step, max(x.size, y.size)-at)
		if n <= 0 {
			return -1, nil
		}
		p, err := fill(x, a[:max(0, min(n, x.size-at))], at)
		if err != nil {
			return 0, err
		}
		q, err := fill(y, b[:max(0, min(n, y.size-at))], at)
		if err != nil {
			return 0, err
		}
		for i := range min(len(p), len(q)) {
			if p[i] != q[i] {
				return at + int64(i), nil
			}
		}
		if len(p) != len(q) {
			return at + int64(min(len(p), len(q))), nil
		}
	}
}

func fill(c *content, b []byte, at int64) ([]byte, error) {
	n, err := c.ReadAt(b, at)
	if n == len(b) {
		return b, nil
	}
	return nil, err
}
