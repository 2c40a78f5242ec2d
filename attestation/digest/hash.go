// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/zeebo/blake3"
)

// Hash computes a [Digest] of what is written to it. Its Write never fails.
// Not safe for concurrent use.
type Hash struct {
	alg Algorithm
	h   hash.Hash
	buf []byte // for ReadFrom, made at its first call
}

// NewHash returns an empty Hash for the algorithm. It panics on an Algorithm
// that is not one of this package's constants: only a programmer can write it.
func NewHash(a Algorithm) *Hash {
	switch a {
	case BLAKE3:
		return &Hash{alg: a, h: blake3.New()}
	case SHA256:
		return &Hash{alg: a, h: sha256.New()}
	default:
		panic("digest: no such algorithm")
	}
}

// Write adds p to the content. The error is always nil.
func (h *Hash) Write(p []byte) (int, error) { return h.h.Write(p) }

// Digest returns the digest of all that was written so far.
func (h *Hash) Digest() Digest {
	d := Digest{alg: h.alg}
	h.h.Sum(d.sum[:0])
	return d
}

// Reset forgets what was written.
func (h *Hash) Reset() { h.h.Reset() }

// Of returns the BLAKE3 digest of b.
func Of(b []byte) Digest {
	if len(b) >= Large {
		return ofLarge(b)
	}
	return Digest{BLAKE3, blake3.Sum256(b)}
}

// OfSHA256 returns the SHA-256 digest of b.
func OfSHA256(b []byte) Digest { return Digest{SHA256, sha256.Sum256(b)} }

const bufferSize = 256 << 10

// ReadFrom adds all that r holds to the content and returns its length. The
// buffer it needs stays with the Hash, so one Hash that is Reset between files
// hashes many without allocating.
func (h *Hash) ReadFrom(r io.Reader) (int64, error) {
	if h.buf == nil {
		h.buf = make([]byte, bufferSize)
	}
	// Hiding the other methods of both keeps io.CopyBuffer on our buffer.
	return io.CopyBuffer(struct{ io.Writer }{h.h}, struct{ io.Reader }{r}, h.buf)
}

// Read returns the BLAKE3 digest and the length of all that r holds.
func Read(r io.Reader) (Digest, int64, error) {
	h := NewHash(BLAKE3)
	n, err := h.ReadFrom(r)
	if err != nil {
		return Digest{}, n, err
	}
	return h.Digest(), n, nil
}

// NewReader returns a reader of r's content that fails at its end with a
// [MismatchError] when the content is not what want names. A caller that reads
// to the end without an error has verified what it read.
func NewReader(r io.Reader, want Digest) io.Reader {
	if want.IsZero() {
		return failing{&MismatchError{Want: want}}
	}
	return &verifying{r: r, h: NewHash(want.alg), want: want}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type verifying struct {
	r    io.Reader
	h    *Hash
	want Digest
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	_, _ = v.h.Write(p[:n])
	if err == io.EOF {
		if got := v.h.Digest(); got != v.want {
			return n, &MismatchError{Want: v.want, Got: got}
		}
	}
	return n, err
}
