// SPDX-License-Identifier: Apache-2.0

// Package keys holds the Ed25519 keys that sign and verify evidence: made,
// loaded and saved with the care that a private key needs.
//
// Start with [Store], the project's own pair; [LoadPublic] reads anybody's
// public key and [LoadPrivate] a key kept elsewhere. Whether a key is to be
// believed is not decided here.
//
// Values of this package do not change and are safe for concurrent use.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrKey is matched by every error about a key that cannot be used: damaged, of
// the wrong type, weak, or readable by others.
var ErrKey = errors.New("unusable key")

// ErrSignature is matched by every error of [Public.Verify].
var ErrSignature = errors.New("signature does not verify")

// Signer signs in the name of one key. Implementations are safe for concurrent
// use.
type Signer interface {
	// Public returns the key that the signatures verify with.
	Public() Public
	// Sign returns the 64 bytes of a pure Ed25519 signature (RFC 8032,
	// section 5.1) of the message itself, not of a hash of it.
	Sign(message []byte) ([]byte, error)
}

// prefix opens the text form of keys and signatures.
const prefix = "ed25519:"

// Public is an Ed25519 public key. Values can be compared with == and used as
// map keys. The zero Public is no key and verifies nothing.
type Public struct {
	key [ed25519.PublicKeySize]byte
	set bool
}

// ParsePublic reads what [Public.String] wrote and no other spelling of it.
// Small-order and non-canonical keys are refused. Errors match [ErrKey].
func ParsePublic(s string) (Public, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return Public{}, fmt.Errorf("%w: a public key is written %s<64 hexadecimal digits>", ErrKey, prefix)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || digits != strings.ToLower(digits) {
		return Public{}, fmt.Errorf("%w: not lower-case hexadecimal digits", ErrKey)
	}
	return publicOf(raw)
}

// publicOf is the only way to a Public, so that no weak one exists.
func publicOf(raw []byte) (Public, error) {
	if len(raw) != ed25519.PublicKeySize {
		return Public{}, fmt.Errorf("%w: an Ed25519 public key has %d bytes, this one %d", ErrKey, ed25519.PublicKeySize, len(raw))
	}
	p := Public{set: true}
	copy(p.key[:], raw)
	if err := checkPoint(p.key); err != nil {
		return Public{}, err
	}
	return p, nil
}

// IsZero reports whether p is no key.
func (p Public) IsZero() bool { return !p.set }

// String returns "ed25519:" and 64 lower-case hexadecimal digits; the empty
// string for the zero Public.
func (p Public) String() string {
	if !p.set {
		return ""
	}
	return prefix + hex.EncodeToString(p.key[:])
}

// Verify returns nil when sig is p's signature of the message, and an error that
// matches [ErrSignature] in every other case. Signatures with S outside of the
// group's order, which would give one message several signatures, are refused
// (RFC 8032, section 5.1.7).
func (p Public) Verify(message, sig []byte) error {
	if !p.set {
		return fmt.Errorf("%w: no key", ErrSignature)
	}
	if len(sig) != ed25519.SignatureSize {
		return fmt.Errorf("%w: a signature has %d bytes, this one %d", ErrSignature, ed25519.SignatureSize, len(sig))
	}
	if !ed25519.Verify(p.key[:], message, sig) {
		return fmt.Errorf("%w with %s", ErrSignature, p)
	}
	return nil
}

// Fingerprint returns the key's identifier as OpenSSH prints it, "SHA256:" and
// the unpadded base64 of the SHA-256 of the key's wire form (RFC 4253, section
// 6.6; RFC 8709, section 4). It is the key identifier that DSSE tools expect.
// Empty for the zero Public.
func (p Public) Fingerprint() string {
	if !p.set {
		return ""
	}
	const kind = "ssh-ed25519"
	wire := make([]byte, 0, 4+len(kind)+4+len(p.key))
	wire = append(wire, 0, 0, 0, byte(len(kind)))
	wire = append(wire, kind...)
	wire = append(wire, 0, 0, 0, byte(len(p.key)))
	wire = append(wire, p.key[:]...)
	sum := sha256.Sum256(wire)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Private is an Ed25519 private key. It prints as "[private key]" whatever it
// is asked for. The zero Private is no key: its Public is zero and Sign fails.
type Private struct {
	// A function, because fmt prints unexported fields of outer structs by
	// reflection, without asking String, and follows pointers when a verb does
	// not fit. It has nothing to print of a function.
	key func() ed25519.PrivateKey
}

var _ Signer = Private{}

// Generate makes a key from 32 bytes of random; nil means the system's own
// source. An error means that random did not yield them.
func Generate(random io.Reader) (Private, error) {
	if random == nil {
		random = rand.Reader
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return Private{}, fmt.Errorf("reading randomness: %w", err)
	}
	return privateOf(ed25519.NewKeyFromSeed(seed)), nil
}

func privateOf(key ed25519.PrivateKey) Private {
	return Private{func() ed25519.PrivateKey { return key }}
}

// Public returns the key that verifies what p signs.
func (p Private) Public() Public {
	if p.key == nil {
		return Public{}
	}
	public, err := publicOf(p.key()[ed25519.SeedSize:])
	if err != nil {
		return Public{} // not reachable: a point made from a seed has large order
	}
	return public
}

// Sign returns the signature of the message.
func (p Private) Sign(message []byte) ([]byte, error) {
	if p.key == nil {
		return nil, fmt.Errorf("%w: no private key", ErrKey)
	}
	return ed25519.Sign(p.key(), message), nil
}

const redacted = "[private key]"

// String returns "[private key]".
func (Private) String() string { return redacted }

// GoString returns "[private key]".
func (Private) GoString() string { return redacted }

// Format prints "[private key]" for every verb.
func (Private) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns "[private key]".
func (Private) MarshalText() ([]byte, error) { return []byte(redacted), nil }
