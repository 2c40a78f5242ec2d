// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// errUnsure says that an index holds something that only git understands.
var errUnsure = errors.New("the index is not a simple one")

// entry is what the index notes of a file: what the file system said when git
// last found its content to be the one that is staged. Numbers are cut to 32
// bits, as git does.
type entry struct {
	path         []byte // until the next entry is read
	mtime, ctime moment
	inode, size  uint32
	mode         uint32
}

// moment is a time as the index has it.
type moment struct{ sec, nsec uint32 }

func (m moment) before(other moment) bool {
	return m.sec < other.sec || m.sec == other.sec && m.nsec < other.nsec
}

// Modes of files in an index, and the flags of entries that tell more than can
// be compared.
const (
	modeFile       = 0o100644
	modeExecutable = 0o100755
	modeSymlink    = 0o120000

	flagAssumeValid = 0x8000
	flagExtended    = 0x4000
	flagStage       = 0x3000
)

// readIndex calls yield for every entry of an index, in order, until it returns
// false. gitformat-index(5) specifies it. hashSize is that of the repository's
// object names, in bytes. An entry with flags that change what it means
// (conflicts, sparse checkouts, submodules), an extension that a reader has to
// know, and damage are errors. That the sum at the end is right is for git to
// see, which reads the same file.
func readIndex(data []byte, hashSize int, yield func(entry) bool) error {
	const head = 12
	if len(data) < head+hashSize || string(data[:4]) != "DIRC" {
		return fmt.Errorf("%w: no index", errUnsure)
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 {
		return fmt.Errorf("%w: version %d", errUnsure, version)
	}
	r := indexReader{rest: data[head : len(data)-hashSize], hashSize: hashSize, version: version}
	for range count {
		e, err := r.next()
		if err != nil {
			return err
		}
		if !yield(e) {
			return nil
		}
	}
	return r.extensions()
}

type indexReader struct {
	rest     []byte
	hashSize int
	version  uint32
	path     []byte // of the entry before
}

// next reads one entry.
func (r *indexReader) next() (entry, error) {
	fixed := 40 + r.hashSize + 2
	if len(r.rest) < fixed+1 {
		return entry{}, fmt.Errorf("%w: it is cut off", errUnsure)
	}
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(r.rest[4*i:]) }
	e := entry{
		ctime: moment{u32(0), u32(1)}, mtime: moment{u32(2), u32(3)},
		inode: u32(5), mode: u32(6), size: u32(9),
	}
	flags := binary.BigEndian.Uint16(r.rest[fixed-2:])
	if flags&(flagAssumeValid|flagExtended|flagStage) != 0 {
		return entry{}, fmt.Errorf("%w: an entry has the flags %#x", errUnsure, flags)
	}
	if e.mode != modeFile && e.mode != modeExecutable && e.mode != modeSymlink {
		return entry{}, fmt.Errorf("%w: an entry has the mode %o", errUnsure, e.mode)
	}
	name := r.rest[fixed:]
	if r.version == 4 {
		drop, n := offset(name)
		if n == 0 || drop > uint64(len(r.path)) {
			return entry{}, fmt.Errorf("%w: a path is damaged", errUnsure)
		}
		r.path, name, fixed = r.path[:len(r.path)-int(drop)], name[n:], fixed+n
	} else {
		r.path = r.path[:0]
	}
	end := bytes.IndexByte(name, 0)
	if end < 0 {
		return entry{}, fmt.Errorf("%w: it is cut off", errUnsure)
	}
	r.path = append(r.path, name[:end]...)
	e.path = r.path
	size := fixed + end + 1
	if r.version < 4 { // with one to eight NULs, to a multiple of eight
		size = (fixed + end + 8) &^ 7
	}
	if size > len(r.rest) {
		return entry{}, fmt.Errorf("%w: it is cut off", errUnsure)
	}
	r.rest = r.rest[size:]
	return e, nil
}

// offset reads a number as git's packs have it, and returns its length, 0 for
// none.
func offset(b []byte) (uint64, int) {
	var v uint64
	for i, c := range b {
		if i > 8 {
			break
		}
		if i > 0 {
			v++
		}
		v = v<<7 | uint64(c&0x7f)
		if c&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// extensions makes sure that all that follows the entries may be ignored: its
// name begins with a capital letter.
func (r *indexReader) extensions() error {
	for len(r.rest) > 0 {
		if len(r.rest) < 8 {
			return fmt.Errorf("%w: it is cut off", errUnsure)
		}
		size := uint64(binary.BigEndian.Uint32(r.rest[4:]))
		if c := r.rest[0]; c < 'A' || c > 'Z' || uint64(len(r.rest)-8) < size {
			return fmt.Errorf("%w: it has the extension %q", errUnsure, r.rest[:4])
		}
		r.rest = r.rest[8+size:]
	}
	return nil
}
