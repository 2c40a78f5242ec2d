// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"sort"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// The file is, all numbers little-endian:
//
//	magic
//	uint32 length of the project's path, records, bytes of paths
//	the project's path
//	records, ordered by path, of recordSize bytes each
//	the records' paths, one behind the other
//	BLAKE3 of all that
//
// A record is: uint64 device, inode, size, mtime, ctime; uint32 mode, day of
// last use, end of its path among the paths; BLAKE3 digest. Version 1 had
// SHA-256 digests besides.
const (
	magic      = "attest.inputs/v2\n"
	headSize   = len(magic) + 3*4
	recordSize = 5*8 + 3*4 + digest.Size
	maxSize    = 1 << 30
)

var errDamaged = errors.New("it is damaged, or of another version")

// table is a file's content. It is searched as it is: a run with nothing to do
// looks at every record once.
type table struct {
	records []byte
	paths   string
}

func (t table) len() int { return len(t.records) / recordSize }

func (t table) at(i int) []byte { return t.records[i*recordSize : (i+1)*recordSize] }

// end returns where the path of record i ends.
func (t table) end(i int) uint32 { return binary.LittleEndian.Uint32(t.at(i)[48:]) }

func (t table) path(i int) string {
	if i == 0 {
		return t.paths[:t.end(0)]
	}
	return t.paths[t.end(i-1):t.end(i)]
}

func (t table) record(i int) record {
	b, le := t.at(i), binary.LittleEndian
	return record{
		path: t.path(i),
		stat: tree.Stat{
			Dev: le.Uint64(b), Inode: le.Uint64(b[8:]), Size: int64(le.Uint64(b[16:])), Mode: le.Uint32(b[40:]),
			Mtime: int64(le.Uint64(b[24:])), Ctime: int64(le.Uint64(b[32:])),
		},
		used: le.Uint32(b[44:]), blake: [digest.Size]byte(b[52:]),
	}
}

// use notes that record i was of use on a day.
func (t table) use(i int, day uint32) { binary.LittleEndian.PutUint32(t.at(i)[44:], day) }

// find returns the place of a path, or where it would stand. Whoever asks for
// many asks in their order and gives the place behind the one found before.
func (t table) find(path string, from int) (int, bool) {
	n := t.len()
	if from < n && t.path(from) == path {
		return from, true
	}
	if from > n || from > 0 && t.path(from-1) >= path {
		from = 0
	}
	low, step := from, 1
	for low+step <= n && t.path(low+step-1) < path {
		low, step = low+step, step*2
	}
	i := low + sort.Search(min(step, n-low), func(k int) bool { return t.path(low+k) >= path })
	return i, i < n && t.path(i) == path
}

// parse reads a file's content. The table keeps and changes data.
func parse(data []byte, project string) (table, error) {
	if len(data) < headSize+digest.Size || string(data[:len(magic)]) != magic {
		return table{}, errDamaged
	}
	data, sum := data[:len(data)-digest.Size], data[len(data)-digest.Size:]
	if got := digest.Of(data).Bytes(); !bytes.Equal(got[:], sum) {
		return table{}, errDamaged
	}
	var sizes [3]uint64
	for i := range sizes {
		sizes[i] = uint64(binary.LittleEndian.Uint32(data[len(magic)+4*i:]))
	}
	sizes[1] *= recordSize
	rest := data[headSize:]
	if sizes[0]+sizes[1]+sizes[2] != uint64(len(rest)) {
		return table{}, errDamaged
	}
	cut := func(n uint64) []byte { part := rest[:n:n]; rest = rest[n:]; return part }
	if string(cut(sizes[0])) != project {
		return table{}, errors.New("it is of another project")
	}
	t := table{records: cut(sizes[1]), paths: string(rest)}
	if !t.whole() {
		return table{}, errDamaged
	}
	return t, nil
}

// whole reports whether the records share out the paths: nothing leads out of the
// table, and nothing in it belongs to no record.
func (t table) whole() bool {
	var end uint32
	for i := range t.len() {
		next := t.end(i)
		if next < end {
			return false
		}
		end = next
	}
	return uint64(end) == uint64(len(t.paths))
}

// builder writes a table, given its records in order.
type builder struct {
	records []byte
	paths   strings.Builder
}

func (b *builder) add(r record) {
	le := binary.LittleEndian
	b.paths.WriteString(r.path)
	out := b.records
	for _, n := range [...]uint64{r.stat.Dev, r.stat.Inode, uint64(r.stat.Size), uint64(r.stat.Mtime), uint64(r.stat.Ctime)} {
		out = le.AppendUint64(out, n)
	}
	for _, n := range [...]uint32{r.stat.Mode, r.used, uint32(b.paths.Len())} {
		out = le.AppendUint32(out, n)
	}
	b.records = append(out, r.blake[:]...)
}

// encode returns the file's content.
func (t table) encode(project string) ([]byte, error) {
	size := headSize + len(project) + len(t.records) + len(t.paths) + digest.Size
	if size > maxSize || len(t.paths) > math.MaxUint32 {
		return nil, errors.New("there are too many files to remember")
	}
	data := append(make([]byte, 0, size), magic...)
	for _, n := range [...]int{len(project), t.len(), len(t.paths)} {
		data = binary.LittleEndian.AppendUint32(data, uint32(n))
	}
	data = append(data, project...)
	data = append(append(data, t.records...), t.paths...)
	sum := digest.Of(data).Bytes()
	return append(data, sum[:]...), nil
}
