// SPDX-License-Identifier: Apache-2.0

package receipt_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// What a terminal acts upon, an editor hides or YAML reads as something else does
// not stand in a receipt as it is; all else does. Both come back.
func TestEscapes(t *testing.T) {
	escaped := []rune{
		0, '\t', '\n', '\r', 0x1b, 0x1f, '"', '\\', 0x7f, 0x85, 0x9b, 0x9f, 0xad, 0x61c, 0x200b, 0x200e, 0x200f, 0x2028, 0x202a, 0x202e,
		0x2060, 0x2066, 0x206f, 0xfeff, 0xfff0, 0xfff9, 0xfffb, 0xfffe, 0xffff,
	}
	plain := []rune{' ', '!', '#', '[', ']', '~', 0xa0, 0xac, 0xae, 0x61b, 0x61d, 0x200a, 0x2010, 0x2027, 0x202f, 0x205f, 0x2070, 0xfefe, 0xff01, 0xffef, 0xfffc, 0x10000, '\U0001f600'}
	for i, r := range append(escaped, plain...) {
		text := "a" + string(r) + "n0041"
		want := receipttest.Sample()
		want.Steps[0].Command = text
		data, err := receipt.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if verbatim := strings.Contains(string(data), `"`+text+`"`); verbatim != (i >= len(escaped)) {
			t.Errorf("%U stands in it as it is: %v", r, verbatim)
		}
		got, err := receipt.Parse(data)
		if err != nil {
			t.Fatalf("%U: %v", r, err)
		}
		if got.Steps[0].Command != text {
			t.Errorf("%U: got %q, want %q", r, got.Steps[0].Command, text)
		}
	}
}

// Only a version that is to come is newer.
func TestNoVersion(t *testing.T) {
	_, data := signed(t)
	for _, version := range []string{"0", "-1", "01", "+2", "02", "2x", "x", "", "99999999999999999999"} {
		other := bytes.Replace(data, []byte("receipt/v1\n"), []byte("receipt/v"+version+"\n"), 1)
		if r, err := receipt.Parse(other); r != nil || !errors.Is(err, receipt.ErrInvalid) || errors.Is(err, receipt.ErrNewer) {
			t.Errorf("v%s: %v", version, err)
		}
	}
}

// What was fetched is ordered by address, and by digest for one address.
func TestFetchesOfTwoAddresses(t *testing.T) {
	want := receipttest.Sample()
	a, b := digest.OfSHA256([]byte("a")), digest.OfSHA256([]byte("b"))
	if a.Hex() < b.Hex() {
		a, b = b, a
	}
	want.Steps[0].Fetched = []receipt.Fetch{{URL: "https://example.org/a", SHA256: a}, {URL: "https://example.org/b", SHA256: b}}
	data, err := receipt.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := receipt.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestModeOf(t *testing.T) {
	for _, tt := range []struct {
		entry tree.Entry
		want  string
	}{
		{tree.Entry{Kind: tree.File, Perm: 0o644}, "0644"},
		{tree.Entry{Kind: tree.File, Perm: 0o666}, "0644"},
		{tree.Entry{Kind: tree.File, Perm: 0o011}, "0644"},
		{tree.Entry{Kind: tree.File, Perm: 0o744}, "0755"},
		{tree.Entry{Kind: tree.Symlink, Perm: 0o777}, "symlink"},
		{tree.Entry{Kind: tree.Dir, Perm: 0o755}, ""},
	} {
		if got := receipt.ModeOf(tt.entry); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.entry, got, tt.want)
		}
	}
}
