// SPDX-License-Identifier: Apache-2.0

// Package interop_test has other people's verifiers judge evidence that attest
// made: the golden files of attestation/intoto, which a test there keeps equal
// to what is written. It is a module of its own, so that what only this needs
// does not stand in the program's go.mod.
package interop_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

const evidence = "../../attestation/intoto/testdata"

// app is the content of the subject dist/app.
const app = "the application\n"

// believing returns a verifier that believes one public key, for ever.
func believing(t *testing.T, keyFile string) *verify.Verifier {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text) // skips the line above the block, as RFC 7468 wants
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	one, err := signature.LoadVerifier(key, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(one, time.Time{}, time.Time{}), nil
	})
	verifier, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func load(t *testing.T, name string, change func(string) string) (*bundle.Bundle, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(evidence, name))
	if err != nil {
		t.Fatal(err)
	}
	var b bundle.Bundle
	return &b, b.UnmarshalJSON([]byte(change(string(text))))
}

func same(s string) string { return s }

func TestSigstoreVerifiesBundles(t *testing.T) {
	verifier := believing(t, "../../attestation/receipt/testdata/public.key")
	for _, name := range []string{"run.sigstore.json", "build.sigstore.json"} {
		b, err := load(t, name, same)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		result, err := verifier.Verify(b, verify.NewPolicy(verify.WithArtifact(strings.NewReader(app)), verify.WithKey()))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := result.Statement.GetPredicateType(); got != "https://slsa.dev/provenance/v1" {
			t.Errorf("%s: predicate type %s", name, got)
		}
	}
}

func TestSigstoreRefusesWhatItShould(t *testing.T) {
	verifier := believing(t, "../../attestation/receipt/testdata/public.key")
	b, err := load(t, "run.sigstore.json", same)
	if err != nil {
		t.Fatal(err)
	}
	policy := func(content string) verify.PolicyBuilder {
		return verify.NewPolicy(verify.WithArtifact(bytes.NewReader([]byte(content))), verify.WithKey())
	}
	if _, err := verifier.Verify(b, policy("another application\n")); err == nil {
		t.Error("another file passes")
	}
	changed, err := load(t, "run.sigstore.json", func(s string) string {
		i := strings.Index(s, `"sig":"`) + len(`"sig":"`)
		flipped := "A"
		if s[i] == 'A' {
			flipped = "B"
		}
		return s[:i] + flipped + s[i+1:]
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(changed, policy(app)); err == nil {
		t.Error("another signature passes")
	}
}
