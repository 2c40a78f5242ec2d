// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// The file is, all numbers little-endian:
//
//	magic
//	uint32 lengths of the question's identity and of the commit, 1 for a dirty state or 0
//	three times: uint32 number of records, bytes of paths
//	the question's identity
//	the commit
//	three times: records of recordSize bytes, their paths, one behind the other
//	BLAKE3 of all that
//
// A record is: uint64 device, inode, size, mtime, ctime; uint32 mode, end of
// its path among the paths. One of what is not there has zeros before its end.
const (
	magic      = "attest.gitstate/v1\n"
	headSize   = len(magic) + 9*4
	recordSize = 5*8 + 2*4
)

var errDamaged = errors.New("it is damaged")

// memory is an answer, and what it hangs on.
type memory struct {
	identity string // of the question
	state    State

	// Paths of outside are absolute, of files that links lead to; the others
	// are relative to the repository, of what stands there itself, and ordered.
	outside, folders, files table
}

func (m *memory) tables() [3]*table { return [...]*table{&m.outside, &m.folders, &m.files} }

// table lists paths and what the file system says of them. It is searched as it
// was read.
type table struct {
	records []byte
	paths   string
}

func (t *table) len() int { return len(t.records) / recordSize }

func (t *table) end(i int) uint32 {
	return binary.LittleEndian.Uint32(t.records[i*recordSize+recordSize-4:])
}

func (t *table) path(i int) string {
	if i == 0 {
		return t.paths[:t.end(0)]
	}
	return t.paths[t.end(i-1):t.end(i)]
}

func (t *table) stat(i int) tree.Stat {
	b, le := t.records[i*recordSize:(i+1)*recordSize], binary.LittleEndian
	return tree.Stat{
		Dev: le.Uint64(b), Inode: le.Uint64(b[8:]), Size: int64(le.Uint64(b[16:])),
		Mtime: int64(le.Uint64(b[24:])), Ctime: int64(le.Uint64(b[32:])), Mode: le.Uint32(b[40:]),
	}
}

// newTable makes a table of what is given in order.
func newTable(list []witness) table {
	le := binary.LittleEndian
	records := make([]byte, 0, len(list)*recordSize)
	var paths strings.Builder
	for _, w := range list {
		paths.WriteString(w.path)
		s := w.stat
		for _, n := range [...]uint64{s.Dev, s.Inode, uint64(s.Size), uint64(s.Mtime), uint64(s.Ctime)} {
			records = le.AppendUint64(records, n)
		}
		records = le.AppendUint32(le.AppendUint32(records, s.Mode), uint32(paths.Len()))
	}
	return table{records, paths.String()}
}

// encode returns the file's content.
func (m *memory) encode() ([]byte, error) {
	size := headSize + len(m.identity) + len(m.state.Commit) + digest.Size
	for _, t := range m.tables() {
		size += len(t.records) + len(t.paths)
	}
	if size > math.MaxInt32 {
		return nil, errors.New("there are too many files to remember")
	}
	data := append(make([]byte, 0, size), magic...)
	put := func(n int) { data = binary.LittleEndian.AppendUint32(data, uint32(n)) }
	put(len(m.identity))
	put(len(m.state.Commit))
	if m.state.Dirty {
		put(1)
	} else {
		put(0)
	}
	for _, t := range m.tables() {
		put(t.len())
		put(len(t.paths))
	}
	data = append(append(data, m.identity...), m.state.Commit...)
	for _, t := range m.tables() {
		data = append(append(data, t.records...), t.paths...)
	}
	sum := digest.Of(data).Bytes()
	return append(data, sum[:]...), nil
}

// parse reads a file's content. The memory keeps data.
func parse(data []byte) (*memory, error) {
	if len(data) < headSize+digest.Size || string(data[:len(magic)]) != magic {
		return nil, errDamaged
	}
	data, sum := data[:len(data)-digest.Size], data[len(data)-digest.Size:]
	if got := digest.Of(data).Bytes(); !bytes.Equal(got[:], sum) {
		return nil, errDamaged
	}
	var sizes [9]uint64
	var all uint64
	for i := range sizes {
		sizes[i] = uint64(binary.LittleEndian.Uint32(data[len(magic)+4*i:]))
		switch i {
		case 2: // dirty
			continue
		case 3, 5, 7:
			sizes[i] *= recordSize
		}
		all += sizes[i]
	}
	rest := data[headSize:]
	if all != uint64(len(rest)) || sizes[2] > 1 {
		return nil, errDamaged
	}
	cut := func(n uint64) []byte { part := rest[:n:n]; rest = rest[n:]; return part }
	m := &memory{identity: string(cut(sizes[0]))}
	m.state = State{Commit: string(cut(sizes[1])), Dirty: sizes[2] == 1}
	for i, t := range m.tables() {
		t.records = cut(sizes[3+2*i])
		t.paths = string(cut(sizes[4+2*i]))
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// check makes sure that the paths are those of the records, and none too many.
func (t *table) check() error {
	var end uint32
	for i := range t.len() {
		next := t.end(i)
		if next <= end || uint64(next) > uint64(len(t.paths)) {
			return errDamaged
		}
		end = next
	}
	if int(end) != len(t.paths) {
		return errDamaged
	}
	return nil
}
