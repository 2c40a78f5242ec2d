// SPDX-License-Identifier: Apache-2.0

package receipt_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

func FuzzParse(f *testing.F) {
	r := receipttest.Sample()
	for range 2 {
		data, err := receipt.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if err := receipt.Sign(r, receipttest.Key(1)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte("schema: attest.receipt/v2\n"))
	f.Add([]byte("schema: attest.receipt/v1\nsteps:\n  - name: \"\\u"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := receipt.Parse(data)
		if err != nil {
			if r != nil || !errors.Is(err, receipt.ErrInvalid) {
				t.Fatalf("receipt %v with error %v", r, err)
			}
			return
		}
		again, err := receipt.Marshal(r)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("parses, but is written as %q, %v", again, err)
		}
	})
}
