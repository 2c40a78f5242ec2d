// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz"
)

// Bounds on xz: its decoder takes as much memory at once as a block says that it wants.
const (
	maxDict   = 64 << 20 // what xz -9 asks for
	maxBlocks = 100_000
)

func (c *comparison) unxz(x *content, name string) ([]member, error) {
	if dict, err := largestDict(x); err != nil || dict > maxDict {
		return nil, errNotOne
	}
	z, err := xz.NewReader(x.reader())
	if err != nil {
		return nil, err
	}
	return c.one(without(name, ".xz"), z)
}

// largestDict returns the most memory that a block of an xz file wants for its
// dictionary. Where the blocks are stands at the end. Files of several streams, which
// only cat makes, are an error.
func largestDict(x *content) (int64, error) {
	const header, footer = 12, 12
	end, err := x.part(x.size-footer, footer)
	if err != nil || len(end) < footer || string(end[10:]) != "YZ" {
		return 0, errNotOne
	}
	length := (int64(binary.LittleEndian.Uint32(end[4:])) + 1) * 4
	if length > inMemory || length > x.size-header-footer {
		return 0, errNotOne
	}
	index, err := x.part(x.size-footer-length, length)
	if err != nil || index[0] != 0 {
		return 0, errNotOne
	}
	r := bytes.NewReader(index[1:])
	blocks, err := binary.ReadUvarint(r)
	if err != nil || blocks > maxBlocks {
		return 0, errNotOne
	}
	largest, at := int64(0), int64(header)
	for range blocks {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > uint64(x.size) {
			return 0, errNotOne
		}
		if _, err = binary.ReadUvarint(r); err != nil { // decompressed; keep counts it
			return 0, err
		}
		dict, err := blockDict(x, at)
		if err != nil {
			return 0, err
		}
		largest = max(largest, dict)
		at += (int64(size) + 3) &^ 3
	}
	if at != x.size-footer-length {
		return 0, errNotOne
	}
	return largest, nil
}

// blockDict returns what the block at an offset wants.
func blockDict(x *content, at int64) (int64, error) {
	const largestHeader, packed, plain, filters, lzma2 = 1024, 0x40, 0x80, 0x03, 0x21
	b, err := x.part(at, largestHeader)
	if err != nil || len(b) < 2 || b[0] == 0 {
		return 0, errNotOne
	}
	flags, r := b[1], bytes.NewReader(b[2:min(len(b), (int(b[0])+1)*4)])
	for _, present := range []byte{packed, plain} {
		if flags&present != 0 {
			if _, err := binary.ReadUvarint(r); err != nil {
				return 0, err
			}
		}
	}
	// The decoder knows one filter, and no other beside it.
	id, err := binary.ReadUvarint(r)
	if err != nil || flags&filters != 0 || id != lzma2 {
		return 0, errNotOne
	}
	properties := make([]byte, 2) // their number, which is 1, and the size
	if _, err := io.ReadFull(r, properties); err != nil || properties[0] != 1 || properties[1] > 40 {
		return 0, errNotOne
	}
	return int64(2|properties[1]&1) << (properties[1]/2 + 11), nil
}
