// SPDX-License-Identifier: Apache-2.0

// Package dsse signs and opens DSSE envelopes, and writes the sigstore bundle
// that holds one, in the form that cosign, sigstore-go and openssl accept.
//
// Start with [Sign], [Open] and [Bundle]. An envelope has exactly one signature:
// several signers make one envelope each.
package dsse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/attest-pipeline/attest/attestation/canon"
	"github.com/attest-pipeline/attest/attestation/keys"
)

// ErrInvalid is matched by errors about bytes that are no envelope of ours. A
// signature that does not verify matches [keys.ErrSignature] instead.
var ErrInvalid = errors.New("invalid DSSE envelope")

// Sign returns the JSON of an envelope with one signature over the payload, in
// canonical form and ended by a newline: a file of its own or a line of a JSON
// lines file. The key's identifier is its [keys.Public.Fingerprint].
func Sign(payloadType string, payload []byte, signer keys.Signer) ([]byte, error) {
	sig, err := signer.Sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing the envelope: %w", err)
	}
	return line(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures: []dsse.Signature{{
			KeyID: signer.Public().Fingerprint(),
			Sig:   base64.StdEncoding.EncodeToString(sig),
		}},
	})
}

// Open returns the payload of an envelope that one of the believed keys signed,
// and that key. It reads what [Sign] writes and no other spelling: unknown,
// repeated and re-cased keys, other payload types, several signatures and bytes
// at the end are errors that match [ErrInvalid].
func Open(envelope []byte, payloadType string, believed ...keys.Public) ([]byte, keys.Public, error) {
	e, err := decode(envelope)
	if err != nil {
		return nil, keys.Public{}, err
	}
	if e.PayloadType != payloadType {
		return nil, keys.Public{}, fmt.Errorf("%w: payload type is %q, not %q", ErrInvalid, e.PayloadType, payloadType)
	}
	payload, err := decode64(e.Payload)
	if err != nil {
		return nil, keys.Public{}, err
	}
	sig, err := decode64(e.Signatures[0].Sig)
	if err != nil {
		return nil, keys.Public{}, err
	}
	message := dsse.PAE(payloadType, payload)
	for _, key := range believed {
		// The identifier only chooses a key: it is not signed.
		if key.Fingerprint() == e.Signatures[0].KeyID && key.Verify(message, sig) == nil {
			return payload, key, nil
		}
	}
	return nil, keys.Public{}, fmt.Errorf("%w: made in the name of %q", keys.ErrSignature, e.Signatures[0].KeyID)
}

func decode(envelope []byte) (dsse.Envelope, error) {
	var e dsse.Envelope
	text, ok := bytes.CutSuffix(envelope, []byte("\n"))
	if !ok {
		return e, fmt.Errorf("%w: no newline at its end", ErrInvalid)
	}
	if err := canon.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n := len(e.Signatures); n != 1 {
		return e, fmt.Errorf("%w: %d signatures, not one", ErrInvalid, n)
	}
	return e, nil
}

// decode64 reads standard base64 with padding, in its one spelling.
func decode64(s string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(data) != s {
		return nil, fmt.Errorf("%w: damaged base64", ErrInvalid)
	}
	return data, nil
}

func line(v any) ([]byte, error) {
	text, err := canon.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
