// SPDX-License-Identifier: Apache-2.0

package dsse_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/dsse"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

const payloadType = "application/vnd.in-toto+json"

func sign(t testing.TB, payload string) []byte {
	t.Helper()
	envelope, err := dsse.Sign(payloadType, []byte(payload), receipttest.Key(1))
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestOpen(t *testing.T) {
	mine, other := receipttest.Key(1).Public(), receipttest.Key(2).Public()
	for _, payload := range []string{"", "{}", "\x00\xff", strings.Repeat("x", 1<<20)} {
		got, key, err := dsse.Open(sign(t, payload), payloadType, other, mine)
		if err != nil || string(got) != payload || key != mine {
			t.Errorf("%d bytes: got %d bytes, %v, %v", len(payload), len(got), key, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	mine, other := receipttest.Key(1).Public(), receipttest.Key(2).Public()
	envelope := string(sign(t, `{"a":1}`))
	signature := envelope[strings.Index(envelope, `{"keyid"`):strings.Index(envelope, `]`)]
	swap := func(old, new string) string {
		if !strings.Contains(envelope, old) {
			t.Fatalf("no %q in %s", old, envelope)
		}
		return strings.Replace(envelope, old, new, 1)
	}
	evil := base64.StdEncoding.EncodeToString([]byte(`{"a":2}`))
	payload := base64.StdEncoding.EncodeToString([]byte(`{"a":1}`))
	tests := []struct {
		name, in string
		key      keys.Public
		want     error
	}{
		{"another key", envelope, other, keys.ErrSignature},
		{"no key", envelope, keys.Public{}, keys.ErrSignature},
		{"another payload", swap(payload, evil), mine, keys.ErrSignature},
		{"another identifier", swap(mine.Fingerprint(), other.Fingerprint()), mine, keys.ErrSignature},
		{"another type", swap(payloadType, "text/plain"), mine, dsse.ErrInvalid},
		{"no newline", strings.TrimSuffix(envelope, "\n"), mine, dsse.ErrInvalid},
		{"bytes at the end", envelope + "x\n", mine, dsse.ErrInvalid},
		{"two envelopes", envelope + envelope, mine, dsse.ErrInvalid},
		{"no signature", swap(signature, ""), mine, dsse.ErrInvalid},
		{"two signatures", swap(signature, signature+","+signature), mine, dsse.ErrInvalid},
		{"an unknown key", swap(`{"payload"`, `{"a":1,"payload"`), mine, dsse.ErrInvalid},
		{"a repeated key", swap(`{"payload"`, `{"payload":"`+evil+`","payload"`), mine, dsse.ErrInvalid},
		{"a re-cased key", swap(`{"payload"`, `{"Payload":"`+evil+`","payload"`), mine, dsse.ErrInvalid},
		{"re-spaced", swap(`{"payload"`, `{ "payload"`), mine, dsse.ErrInvalid},
		{"URL-safe base64", swap(`"sig":"`, `"sig":"-_`), mine, dsse.ErrInvalid},
		{"a newline in base64", swap(`"payload":"`, `"payload":"\n`), mine, dsse.ErrInvalid},
		{"no JSON", "\n", mine, dsse.ErrInvalid},
		{"null", "null\n", mine, dsse.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, key, err := dsse.Open([]byte(tt.in), payloadType, tt.key)
			if got != nil || !key.IsZero() || !errors.Is(err, tt.want) {
				t.Errorf("got %q, %v, %v; want %v", got, key, err, tt.want)
			}
		})
	}
}

// No change of one bit leaves an envelope that opens.
func TestEveryBitCounts(t *testing.T) {
	envelope := sign(t, `{"a":1}`)
	for i := range envelope {
		for bit := range 8 {
			damaged := bytes.Clone(envelope)
			damaged[i] ^= 1 << bit
			if _, _, err := dsse.Open(damaged, payloadType, receipttest.Key(1).Public()); err == nil {
				t.Errorf("opens with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

func TestBundle(t *testing.T) {
	envelope := sign(t, "{}")
	text, err := dsse.Bundle(envelope)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		MediaType            string
		VerificationMaterial struct{ PublicKey struct{ Hint string } }
		DSSEEnvelope         json.RawMessage
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.MediaType != dsse.BundleType || got.VerificationMaterial.PublicKey.Hint != receipttest.Key(1).Public().Fingerprint() {
		t.Errorf("got %s", text)
	}
	if string(got.DSSEEnvelope)+"\n" != string(envelope) {
		t.Errorf("the bundle holds another envelope: %s", got.DSSEEnvelope)
	}
	if _, err := dsse.Bundle([]byte("{}\n")); !errors.Is(err, dsse.ErrInvalid) {
		t.Errorf("a bundle of nothing: %v", err)
	}
}

// openssl, given the bytes that the DSSE protocol says are signed, agrees.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("ATTEST_REQUIRE_TOOLS") != "" {
			t.Fatal("no openssl, and ATTEST_REQUIRE_TOOLS is set")
		}
		t.Skip("no openssl on PATH")
	}
	const payload = `{"a":1}`
	var envelope struct{ Signatures []struct{ Sig []byte } }
	if err := json.Unmarshal(sign(t, payload), &envelope); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pae := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " " + payload
	verify := func(pae string) ([]byte, error) {
		return exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-rawin", "-pubin",
			"-inkey", write("pub.pem", receipttest.Key(1).Public().PEM()),
			"-sigfile", write("sig", envelope.Signatures[0].Sig),
			"-in", write("pae.bin", []byte(pae))).CombinedOutput()
	}
	if out, err := verify(pae); err != nil {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	if _, err := verify(pae + " "); err == nil {
		t.Error("openssl verifies anything")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sign(f, "{}"))
	f.Add([]byte(`{"payload":"","payloadType":"","signatures":[{"keyid":"","sig":""}]}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		payload, key, err := dsse.Open(data, payloadType, receipttest.Key(1).Public())
		if err != nil {
			if payload != nil || !key.IsZero() {
				t.Fatal("a payload came back with an error")
			}
			return
		}
		again, err := dsse.Sign(payloadType, payload, receipttest.Key(1))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("opens, but signing gives %q, %v", again, err)
		}
	})
}
