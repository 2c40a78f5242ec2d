// SPDX-License-Identifier: Apache-2.0

package receipt_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

func TestSignature(t *testing.T) {
	mine, other := receipttest.Key(1).Public(), receipttest.Key(2).Public()
	r, _ := signed(t)
	if key, err := r.VerifySignature(other, mine); err != nil || key != mine {
		t.Errorf("got %v, %v", key, err)
	}
	if key, err := r.VerifySignature(other); !errors.Is(err, receipt.ErrSignature) || !key.IsZero() {
		t.Errorf("another key: got %v, %v", key, err)
	}
	if _, err := r.VerifySignature(); !errors.Is(err, receipt.ErrSignature) {
		t.Errorf("no key: got %v", err)
	}
	claim := *r
	claim.SignerPublicKey = other.String()
	if _, err := claim.VerifySignature(mine, other); !errors.Is(err, receipt.ErrSignature) {
		t.Errorf("in another's name: got %v", err)
	}
	if _, err := receipttest.Sample().VerifySignature(mine); !errors.Is(err, receipt.ErrSignature) {
		t.Errorf("unsigned: got %v", err)
	}
	before := *r
	if err := receipt.Sign(r, keys.Private{}); err == nil || r.Signature != before.Signature {
		t.Errorf("signing without a key: %v, or the receipt changed", err)
	}
	r.Status = "splendid"
	if err := receipt.Sign(r, receipttest.Key(1)); !errors.Is(err, receipt.ErrInvalid) || r.Signature != before.Signature {
		t.Errorf("signing what is no receipt: %v, or the receipt changed", err)
	}
}

// Who has one of two believed keys must not sign in the name of the other: the
// name is part of what is signed, and so it must be that of the key.
func TestNobodySignsForAnother(t *testing.T) {
	mine, other := receipttest.Key(1), receipttest.Key(2).Public()
	r := receipttest.Sample()
	r.SignerPublicKey = other.String()
	message, err := r.SignedBytes()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := mine.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	r.Signature = "ed25519:" + hex.EncodeToString(sig)
	if key, err := r.VerifySignature(mine.Public(), other); !errors.Is(err, receipt.ErrSignature) || !key.IsZero() {
		t.Errorf("got %v, %v", key, err)
	}
}

// What is no receipt has no bytes to sign, and a signature over no bytes is none of
// it.
func TestNothingIsSigned(t *testing.T) {
	mine := receipttest.Key(1)
	sig, err := mine.Sign(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := receipttest.Sample()
	r.Status = "splendid"
	r.SignerPublicKey, r.Signature = mine.Public().String(), "ed25519:"+hex.EncodeToString(sig)
	if key, err := r.VerifySignature(mine.Public()); !errors.Is(err, receipt.ErrSignature) || !key.IsZero() {
		t.Errorf("got %v, %v", key, err)
	}
}
