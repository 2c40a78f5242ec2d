// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// listingHeader opens every listing, so that no file's content is a folder's.
const listingHeader = "attest.listing/v1\n"

// Listing returns the canonical text of the tree, whose BLAKE3 digest is the
// hash of a folder in a receipt. attestation/receipt/FORMAT.md specifies it: a
// header line, then for every entry, ordered by path bytewise, one record
//
//	<kind> <mode> <size> <blake3 hex or -> <length of path>:<path>\n
//
// kind is f, l or d; mode is four octal digits as [Entry.Mode] has it. The
// length makes the text injective for every name that a file system allows.
func (t Tree) Listing() []byte {
	size := len(listingHeader)
	for i := range t.entries {
		// "f 0644 ", a size, two spaces, 64 digits, the path's length, ":", "\n".
		size += 7 + 8 + 2 + 2*digest.Size + 3 + 2 + len(t.entries[i].Path)
	}
	b := append(make([]byte, 0, size), listingHeader...)
	for i := range t.entries {
		b = appendRecord(b, &t.entries[i])
	}
	return b
}

// Digest returns the BLAKE3 digest of the listing.
func (t Tree) Digest() digest.Digest {
	const enough, record = 32 << 10, 128 // a piece, and about as long as a record is
	var h *digest.Hash                   // nil while all fits into one piece
	b := append(make([]byte, 0, min(2*enough, len(listingHeader)+record*len(t.entries))), listingHeader...)
	for i := range t.entries {
		if b = appendRecord(b, &t.entries[i]); len(b) >= enough {
			if h == nil {
				h = digest.NewHash(digest.BLAKE3)
			}
			_, _ = h.Write(b)
			b = b[:0]
		}
	}
	if h == nil {
		return digest.Of(b)
	}
	_, _ = h.Write(b)
	return h.Digest()
}

func appendRecord(b []byte, e *Entry) []byte {
	b = append(b, kindLetter(e.Kind), ' ', '0')
	b = strconv.AppendUint(b, uint64(e.Mode()), 8) // three digits: see Mode
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Size, 10)
	b = append(b, ' ')
	if e.Digest.IsZero() {
		b = append(b, '-')
	} else {
		b = e.Digest.AppendHex(b)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(e.Path)), 10)
	b = append(b, ':')
	b = append(b, e.Path...)
	return append(b, '\n')
}

func kindLetter(k Kind) byte {
	switch k {
	case Symlink:
		return 'l'
	case Dir:
		return 'd'
	default:
		return 'f'
	}
}

// ParseListing reads what [Tree.Listing] wrote and no other spelling of it: the
// tree it returns has exactly this listing. Targets of symbolic links are not
// in a listing and stay empty. Errors match [ErrInvalid].
func ParseListing(text []byte) (Tree, error) {
	rest := bytes.TrimPrefix(text, []byte(listingHeader)) // without it the spelling is another: see below
	var entries []Entry
	for len(rest) > 0 {
		e, after, err := parseRecord(rest)
		if err != nil {
			return Tree{}, fmt.Errorf("%w: record %d: %s", ErrInvalid, len(entries)+1, err.Error())
		}
		entries, rest = append(entries, e), after
	}
	t, err := New(entries)
	if err != nil {
		return Tree{}, err
	}
	if !bytes.Equal(t.Listing(), text) {
		return Tree{}, fmt.Errorf("%w: not the canonical spelling", ErrInvalid)
	}
	return t, nil
}

func parseRecord(text []byte) (Entry, []byte, error) {
	var e Entry
	head, rest, ok := bytes.Cut(text, []byte(":"))
	fields := bytes.Split(head, []byte(" "))
	if !ok || len(fields) != 5 || len(fields[0]) != 1 {
		return e, nil, fmt.Errorf("not five fields and a path")
	}
	switch fields[0][0] {
	case 'f':
		e.Kind = File
	case 'l':
		e.Kind = Symlink
	case 'd':
		e.Kind = Dir
	default:
		return e, nil, fmt.Errorf("unknown kind %q", fields[0])
	}
	mode, err := strconv.ParseUint(string(fields[1]), 8, 12)
	if err != nil {
		return e, nil, fmt.Errorf("mode %q", fields[1])
	}
	e.Perm = uint32(mode)
	if e.Size, err = strconv.ParseInt(string(fields[2]), 10, 64); err != nil || e.Size < 0 {
		return e, nil, fmt.Errorf("size %q", fields[2])
	}
	if hex := string(fields[3]); hex != "-" {
		if e.Digest, err = digest.Parse("blake3:" + hex); err != nil {
			return e, nil, err
		}
	}
	if isDir := e.Kind == Dir; isDir != e.Digest.IsZero() || isDir && e.Size != 0 {
		return e, nil, fmt.Errorf("kind, digest and size disagree")
	}
	n, err := strconv.Atoi(string(fields[4]))
	if err != nil || n < 1 || n >= len(rest) || rest[n] != '\n' {
		return e, nil, fmt.Errorf("path length %q", fields[4])
	}
	e.Path = string(rest[:n])
	return e, rest[n+1:], nil
}
