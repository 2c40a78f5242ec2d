// SPDX-License-Identifier: Apache-2.0

// Package digest names content by its hash, and checks content against such a
// name.
//
// Start with [Of] and [Parse]. BLAKE3 is the project's own algorithm: files,
// folders, pipelines and keys are named by it. SHA-256 stands beside it
// wherever the rest of the world (OCI, in-toto, BuildKit) has to understand
// the name. No other package imports a BLAKE3 library.
//
// Values are small, comparable and safe for concurrent use; hashers are not.
package digest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Size is the length in bytes of every digest of this package.
const Size = 32

// Algorithm is the name that stands before the colon.
type Algorithm uint8

// The algorithms that a [Digest] can have. The zero Algorithm belongs to the
// zero Digest, which names nothing.
const (
	BLAKE3 Algorithm = iota + 1
	SHA256
)

// String returns "blake3" or "sha256", and "none" for the zero Algorithm.
func (a Algorithm) String() string {
	switch a {
	case BLAKE3:
		return "blake3"
	case SHA256:
		return "sha256"
	default:
		return "none"
	}
}

// ErrInvalid is matched by every error of [Parse].
var ErrInvalid = errors.New("invalid digest")

// ErrMismatch is matched by every [MismatchError].
var ErrMismatch = errors.New("content does not match its digest")

// MismatchError says that content is not what its name promised.
type MismatchError struct {
	Want, Got Digest
}

// Error names both digests.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%v: want %v, got %v", ErrMismatch, e.Want, e.Got)
}

// Is reports whether target is [ErrMismatch].
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// Digest is an algorithm and the 32 bytes it made of some content. The zero
// Digest names nothing. Digests can be compared with == and used as map keys.
type Digest struct {
	alg Algorithm
	sum [Size]byte
}

// New makes a Digest of a sum computed elsewhere.
func New(a Algorithm, sum [Size]byte) Digest { return Digest{a, sum} }

// Parse reads "blake3:<hex>" or "sha256:<hex>", 64 lower-case digits, and
// nothing else: one digest has one spelling. Errors match [ErrInvalid].
func Parse(s string) (Digest, error) {
	name, digits, ok := strings.Cut(s, ":")
	if !ok {
		return Digest{}, fmt.Errorf("%w: %q has no algorithm", ErrInvalid, clip(s))
	}
	var a Algorithm
	switch name {
	case "blake3":
		a = BLAKE3
	case "sha256":
		a = SHA256
	default:
		return Digest{}, fmt.Errorf("%w: unknown algorithm %q", ErrInvalid, clip(name))
	}
	return ParseHex(a, digits)
}

// ParseHex is [Parse] for the digits of a digest of which the algorithm is known.
func ParseHex(a Algorithm, digits string) (Digest, error) {
	if len(digits) != 2*Size || strings.ContainsAny(digits, "ABCDEF") {
		return Digest{}, fmt.Errorf("%w: %q is not 64 lower-case hexadecimal digits", ErrInvalid, clip(digits))
	}
	d := Digest{alg: a}
	if _, err := hex.Decode(d.sum[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("%w: %q is not hexadecimal", ErrInvalid, clip(digits))
	}
	return d, nil
}

// clip keeps hostile input out of error texts.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// Algorithm returns the algorithm; zero for the zero Digest.
func (d Digest) Algorithm() Algorithm { return d.alg }

// Hex returns the 64 digits without the algorithm, empty for the zero Digest.
func (d Digest) Hex() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d.sum[:])
}

// AppendHex appends what Hex returns.
func (d Digest) AppendHex(b []byte) []byte {
	if d.IsZero() {
		return b
	}
	return hex.AppendEncode(b, d.sum[:])
}

// Bytes returns the 32 bytes of the sum.
func (d Digest) Bytes() [Size]byte { return d.sum }

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d.alg == 0 }

// String returns the spelling that [Parse] reads, empty for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return d.alg.String() + ":" + d.Hex()
}

// MarshalText writes the spelling that [Parse] reads; the zero Digest is the
// empty text.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// MarshalBinary writes the algorithm in one byte and the sum after it; nothing
// for the zero Digest.
func (d Digest) MarshalBinary() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return append([]byte{byte(d.alg)}, d.sum[:]...), nil
}

// UnmarshalBinary reads what MarshalBinary wrote. Errors match [ErrInvalid].
func (d *Digest) UnmarshalBinary(data []byte) error {
	if len(data) == 0 {
		*d = Digest{}
		return nil
	}
	if a := Algorithm(data[0]); len(data) != 1+Size || (a != BLAKE3 && a != SHA256) {
		return fmt.Errorf("%w: %d bytes of no known algorithm", ErrInvalid, len(data))
	}
	*d = Digest{alg: Algorithm(data[0]), sum: [Size]byte(data[1:])}
	return nil
}
