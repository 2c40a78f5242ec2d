// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
)

// smallOrder lists the y-coordinates, little-endian and without the sign bit, of
// the eight points whose order divides 8. Under such a key one signature fits
// many messages or all of them, so whoever brings it can deny having signed any
// (RFC 8032 leaves the check to the caller; crypto/ed25519 does not make it).
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000", // order 4
	"0100000000000000000000000000000000000000000000000000000000000000", // order 1: the identity
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2: p-1
}

// checkPoint refuses public keys of small order, and encodings of a
// y-coordinate that is not below p = 2^255-19: those would give one key two
// names.
func checkPoint(key [32]byte) error {
	y := key
	y[31] &= 0x7f
	if slices.Contains(smallOrder[:], hex.EncodeToString(y[:])) {
		return fmt.Errorf("%w: a public key of small order, under which anybody can sign", ErrKey)
	}
	slices.Reverse(y[:]) // big-endian, so that bytes compare as numbers do
	prime := bytes.Repeat([]byte{0xff}, 32)
	prime[0], prime[31] = 0x7f, 0xed
	if bytes.Compare(y[:], prime) >= 0 {
		return fmt.Errorf("%w: a public key that is not in canonical form", ErrKey)
	}
	return nil
}
