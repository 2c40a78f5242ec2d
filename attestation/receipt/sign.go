// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/keys"
)

// ErrSignature is matched by every error of [Receipt.VerifySignature].
var ErrSignature = errors.New("no valid signature")

// SignedBytes returns what the signature is over: the RFC 8785 canonical JSON of
// the document without signature, signer_public_key included. Errors match
// [ErrInvalid].
func (r *Receipt) SignedBytes() ([]byte, error) {
	c := &checker{}
	if c.facts(r); c.err != nil {
		return nil, c.err
	}
	d := documentOf(r)
	d.Signature = ""
	text, err := canon.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return text, nil
}

// Sign sets SignerPublicKey and Signature, replacing what stood there. On an
// error r is as it was.
func Sign(r *Receipt, signer keys.Signer) error {
	signed := *r
	signed.SignerPublicKey, signed.Signature = signer.Public().String(), ""
	message, err := signed.SignedBytes()
	if err != nil {
		return err
	}
	sig, err := signer.Sign(message)
	if err != nil {
		return fmt.Errorf("signing the receipt: %w", err)
	}
	signed.Signature = signaturePrefix + hex.EncodeToString(sig)
	*r = signed
	return nil
}

// VerifySignature returns the key, out of those believed, whose signature the
// receipt carries. The key that the receipt names only helps to word the error,
// which matches [ErrSignature].
func (r *Receipt) VerifySignature(believed ...keys.Public) (keys.Public, error) {
	if r.Signature == "" {
		return keys.Public{}, fmt.Errorf("%w: the receipt is not signed", ErrSignature)
	}
	sig, err := hex.DecodeString(strings.TrimPrefix(r.Signature, signaturePrefix))
	if err != nil {
		return keys.Public{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	message, err := r.SignedBytes()
	if err != nil {
		return keys.Public{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	named := false
	for _, key := range believed {
		// Both must hold: a signature made with a believed key under a claim
		// of another is somebody's trick.
		if key.String() != r.SignerPublicKey {
			continue
		}
		named = true
		if key.Verify(message, sig) == nil {
			return key, nil
		}
	}
	if named {
		return keys.Public{}, fmt.Errorf("%w: not made by %s over this document", ErrSignature, r.SignerPublicKey)
	}
	return keys.Public{}, fmt.Errorf("%w: made in the name of %s, which is not believed", ErrSignature, r.SignerPublicKey)
}
