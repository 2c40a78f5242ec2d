// SPDX-License-Identifier: Apache-2.0

// Package dsse signs and opens DSSE envelopes, and writes the sigstore bundle
// that holds one.
//
// Start with [Sign], [Open] and [Bundle].
package dsse

import (
	"errors"

	"github.com/attest-pipeline/attest/attestation/keys"
)

// Sign returns the JSON of an envelope with one signature over the payload, one
// line ended by a newline.
func Sign(payloadType string, payload []byte, signer keys.Signer) ([]byte, error) {
	return nil, errors.New("dsse: being written")
}

// Open verifies an envelope that Sign wrote, with any of the keys, and returns
// its payload and the key that signed it.
func Open(envelope []byte, payloadType string, believed ...keys.Public) ([]byte, keys.Public, error) {
	return nil, keys.Public{}, errors.New("dsse: being written")
}

// Bundle returns the sigstore bundle v0.3 that holds the envelope, one line
// ended by a newline.
func Bundle(envelope []byte) ([]byte, error) { return nil, errors.New("dsse: being written") }
