// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/keys"
)

// keyOf returns the key whose 32 bytes of seed are all n.
func keyOf(t testing.TB, n byte) keys.Private {
	t.Helper()
	key, err := keys.Generate(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RFC 8032, section 7.1, tests 1 and 3.
func TestKnownAnswers(t *testing.T) {
	tests := []struct{ seed, public, message, signature string }{
		{
			"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
			"",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		{
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
			"af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
	}
	for _, tt := range tests {
		key, err := keys.Generate(bytes.NewReader(unhex(t, tt.seed)))
		if err != nil {
			t.Fatal(err)
		}
		if got := key.Public().String(); got != "ed25519:"+tt.public {
			t.Errorf("public key: got %s", got)
		}
		sig, err := key.Sign(unhex(t, tt.message))
		if err != nil || hex.EncodeToString(sig) != tt.signature {
			t.Errorf("signature: got %x, %v", sig, err)
		}
		if err := key.Public().Verify(unhex(t, tt.message), sig); err != nil {
			t.Error(err)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyRefuses(t *testing.T) {
	key := keyOf(t, 1)
	message := []byte("message")
	sig, err := key.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	// S+L verifies the same message wherever S < L is not asked for.
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	more := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(more)
	tests := []struct {
		name    string
		key     keys.Public
		message []byte
		sig     []byte
	}{
		{"another message", key.Public(), []byte("massage"), sig},
		{"another key", keyOf(t, 2).Public(), message, sig},
		{"no key", keys.Public{}, message, sig},
		{"a short signature", key.Public(), message, sig[:63]},
		{"a long signature", key.Public(), message, append(slices.Clone(sig), 0)},
		{"no signature", key.Public(), message, nil},
		{"S plus the group's order", key.Public(), message, append(slices.Clone(sig[:32]), more...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.key.Verify(tt.message, tt.sig); !errors.Is(err, keys.ErrSignature) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A key of zeros is a point of small order, whose signatures anybody makes: no key
// must not be one.
func TestNoKeyBelievesNoForgery(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1 // R is the neutral element, and S zero
	for i := range byte(255) {
		message := []byte{i}
		if !ed25519.Verify(make([]byte, ed25519.PublicKeySize), message, forged) {
			continue
		}
		if err := (keys.Public{}).Verify(message, forged); !errors.Is(err, keys.ErrSignature) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Fatal("no message has this signature")
}

func TestParsePublic(t *testing.T) {
	want := keyOf(t, 1).Public()
	got, err := keys.ParsePublic(want.String())
	if err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	text := want.String()
	for _, bad := range []string{
		"", "ed25519:", text[8:], text + "0", text[:len(text)-1], text + "\n", " " + text,
		strings.ToUpper(text), "ed25519:" + strings.ToUpper(text[8:]), strings.Replace(text, "ed25519", "ed448", 1),
		"ed25519:" + strings.Repeat("g", 64),
	} {
		if got, err := keys.ParsePublic(bad); !errors.Is(err, keys.ErrKey) || !got.IsZero() {
			t.Errorf("%q: got %v, %v", bad, got, err)
		}
	}
}

// Every encoding of a point whose order divides 8, the ones that are not
// canonical included. The first test shows what they are good for.
var weakKeys = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestWeakKeysAreRefused(t *testing.T) {
	// R is the identity, S is zero: a signature that nobody made.
	forged := make([]byte, 64)
	forged[0] = 1
	for _, weak := range weakKeys {
		verified := 0
		for i := range 64 {
			if ed25519.Verify(unhex(t, weak), fmt.Append(nil, "message ", i), forged) {
				verified++
			}
		}
		// If crypto/ed25519 ever refuses these keys itself, checkPoint can go.
		if verified == 0 {
			t.Errorf("%s: no forgery in 64 messages; is it of small order?", weak)
		}
		if _, err := keys.ParsePublic("ed25519:" + weak); !errors.Is(err, keys.ErrKey) {
			t.Errorf("%s: accepted (%v)", weak, err)
		}
	}
	// y = p+3, a point of large order in an encoding that is not canonical, and
	// the largest number that the encoding holds.
	for _, strange := range []string{
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		if _, err := keys.ParsePublic("ed25519:" + strange); !errors.Is(err, keys.ErrKey) {
			t.Errorf("%s: accepted (%v)", strange, err)
		}
	}
	// y = p-2 is as large as a canonical y gets, and of large order.
	if _, err := keys.ParsePublic("ed25519:ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"); err != nil {
		t.Errorf("a canonical key: %v", err)
	}
}

func TestPrivateCannotPrintItself(t *testing.T) {
	key := keyOf(t, 7)
	seed := hex.EncodeToString(bytes.Repeat([]byte{7}, 32))
	type outer struct {
		Exported   keys.Private
		unexported keys.Private
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "outer", outer{key, key})
	asJSON, err := json.Marshal(outer{Exported: key})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, key), fmt.Sprintf(verb, &key), fmt.Sprintf(verb, outer{key, key}), fmt.Sprintf(verb, []keys.Private{key}))
	}
	for _, text := range texts {
		// Hexadecimal, decimal list, base64 and raw bytes of the seed.
		for _, leak := range []string{seed[:16], "7 7 7", "7, 7, 7", "0x7, 0x7", "BwcHBw", "\x07\x07"} {
			if strings.Contains(text, leak) {
				t.Errorf("%q shows the key", text)
			}
		}
	}
	if got := fmt.Sprint(key); got != "[private key]" {
		t.Errorf("got %q", got)
	}
}

func TestZeroPrivate(t *testing.T) {
	var key keys.Private
	if _, err := key.Sign(nil); !errors.Is(err, keys.ErrKey) {
		t.Errorf("got %v", err)
	}
	if !key.Public().IsZero() || key.Public().String() != "" || key.Public().Fingerprint() != "" || key.Public().PEM() != nil {
		t.Error("the zero key has a public one")
	}
}

func TestGenerate(t *testing.T) {
	if _, err := keys.Generate(strings.NewReader("short")); err == nil {
		t.Error("made a key of 5 bytes")
	}
	a, err := keys.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := keys.Generate(nil)
	if err != nil || a.Public() == b.Public() {
		t.Errorf("two keys are one (%v)", err)
	}
}
