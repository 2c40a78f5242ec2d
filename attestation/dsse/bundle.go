// SPDX-License-Identifier: Apache-2.0

package dsse

import "github.com/secure-systems-lab/go-securesystemslib/dsse"

// BundleType is the media type of what [Bundle] returns.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// bundle is the part of dev.sigstore.bundle.v1.Bundle (sigstore/protobuf-specs,
// v0.3) that evidence without a transparency log has.
type bundle struct {
	MediaType string               `json:"mediaType"`
	Material  verificationMaterial `json:"verificationMaterial"`
	Envelope  dsse.Envelope        `json:"dsseEnvelope"`
}

type verificationMaterial struct {
	PublicKey publicKeyIdentifier `json:"publicKey"`
}

type publicKeyIdentifier struct {
	Hint string `json:"hint"`
}

// Bundle returns the sigstore bundle that holds an envelope of [Sign], as
// canonical JSON ended by a newline. It names the key by the envelope's own
// identifier and holds no certificate, no log entry and no time stamp. Errors
// match [ErrInvalid].
func Bundle(envelope []byte) ([]byte, error) {
	e, err := decode(envelope)
	if err != nil {
		return nil, err
	}
	return line(bundle{
		MediaType: BundleType,
		Material:  verificationMaterial{publicKeyIdentifier{e.Signatures[0].KeyID}},
		Envelope:  e,
	})
}
