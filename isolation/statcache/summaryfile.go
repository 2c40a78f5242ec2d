// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// The file of summaries is, with numbers of fixed width little-endian and texts
// and lists behind their length as a uvarint:
//
//	magic
//	the project's path
//	summaries, ordered by name
//	BLAKE3 of all that
//
// A summary is: its name; fingerprint; uint32 day of last use; digest of the
// tree; digests; rows of the cover, each path, mode, digest and, behind a byte
// that is 1, SHA-256; folders, each path and Stat. A digest is 32 bytes, all of
// them zero for none.
const summaryMagic = "attest.summaries/v1\n"

func encodeSummaries(all map[string]*keptSummary, project string) []byte {
	b := appendText([]byte(summaryMagic), project)
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k := all[name]
		b = appendText(b, name)
		b = appendDigest(b, k.print)
		b = binary.LittleEndian.AppendUint32(b, k.used)
		b = appendDigest(b, k.Tree)
		b = binary.AppendUvarint(b, uint64(len(k.Digests)))
		for _, d := range k.Digests {
			b = appendDigest(b, d)
		}
		b = binary.AppendUvarint(b, uint64(len(k.Cover)))
		for _, p := range k.Cover {
			b = appendDigest(appendText(appendText(b, p.Path), p.Mode), p.Hash)
			if p.SHA256.IsZero() {
				b = append(b, 0)
			} else {
				b = appendDigest(append(b, 1), p.SHA256)
			}
		}
		b = binary.AppendUvarint(b, uint64(len(k.Folders)))
		for _, f := range k.Folders {
			b = appendStat(appendText(b, f.Path), f.Stat)
		}
	}
	sum := digest.Of(b).Bytes()
	return append(b, sum[:]...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendDigest(b []byte, d digest.Digest) []byte {
	sum := d.Bytes()
	return append(b, sum[:]...)
}

const statSize = 5*8 + 4

func appendStat(b []byte, s tree.Stat) []byte {
	le := binary.LittleEndian
	for _, n := range [...]uint64{s.Dev, s.Inode, uint64(s.Size), uint64(s.Mtime), uint64(s.Ctime)} {
		b = le.AppendUint64(b, n)
	}
	return le.AppendUint32(b, s.Mode)
}

// parseSummaries reads what encodeSummaries wrote.
func parseSummaries(data []byte, project string) (map[string]*keptSummary, error) {
	if len(data) < len(summaryMagic)+digest.Size || string(data[:len(summaryMagic)]) != summaryMagic {
		return nil, errDamaged
	}
	data, sum := data[:len(data)-digest.Size], data[len(data)-digest.Size:]
	if got := digest.Of(data).Bytes(); !bytes.Equal(got[:], sum) {
		return nil, errDamaged
	}
	r := &reader{rest: data[len(summaryMagic):]}
	if r.text() != project {
		return nil, errors.New("it is of another project")
	}
	all := map[string]*keptSummary{}
	for range r.count(1) {
		name := r.text()
		k := &keptSummary{print: r.digest(digest.BLAKE3), used: r.uint32()}
		k.Tree = r.digest(digest.BLAKE3)
		for range r.count(digest.Size) {
			k.Digests = append(k.Digests, r.digest(digest.BLAKE3))
		}
		for range r.count(1) {
			p := receipt.Path{Path: r.text(), Mode: r.text(), Hash: r.digest(digest.BLAKE3)}
			if has := r.take(1); has != nil && has[0] == 1 {
				p.SHA256 = r.digest(digest.SHA256)
			}
			k.Cover = append(k.Cover, p)
		}
		for range r.count(statSize) {
			k.Folders = append(k.Folders, tree.Folder{Path: r.text(), Stat: r.stat()})
		}
		all[name] = k
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errDamaged
	}
	return all, nil
}

// reader takes values off the front of rest. It is bad from the first one on
// that is not there.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

// count is the length of a list of things of at least size bytes.
func (r *reader) count(size int) uint64 {
	n, width := binary.Uvarint(r.rest)
	if r.bad || width <= 0 || n > uint64(len(r.rest)/size) {
		r.bad = true
		return 0
	}
	r.rest = r.rest[width:]
	return n
}

func (r *reader) text() string { return string(r.take(r.count(1))) }

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) digest(a digest.Algorithm) digest.Digest {
	b := r.take(digest.Size)
	if b == nil || bytes.Equal(b, make([]byte, digest.Size)) {
		return digest.Digest{}
	}
	return digest.New(a, [digest.Size]byte(b))
}

func (r *reader) stat() tree.Stat {
	b := r.take(statSize)
	if b == nil {
		return tree.Stat{}
	}
	le := binary.LittleEndian
	return tree.Stat{
		Dev: le.Uint64(b), Inode: le.Uint64(b[8:]), Size: int64(le.Uint64(b[16:])),
		Mtime: int64(le.Uint64(b[24:])), Ctime: int64(le.Uint64(b[32:])), Mode: le.Uint32(b[40:]),
	}
}
