// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// pattern is the input of the BLAKE3 project's test vectors.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// All of the BLAKE3 project's test_vectors.json: by length, the first 32 bytes
// of "hash".
var known = map[int]string{
	0:      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
	1:      "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
	1023:   "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
	1024:   "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
	1025:   "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
	2048:   "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
	2049:   "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
	3072:   "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
	3073:   "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
	4096:   "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969",
	4097:   "9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995",
	5120:   "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833",
	5121:   "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
	6144:   "3e2e5b74e048f3add6d21faab3f83aa44d3b2278afb83b80b3c35164ebeca205",
	6145:   "f1323a8631446cc50536a9f705ee5cb619424d46887f3c376c695b70e0f0507f",
	7168:   "61da957ec2499a95d6b8023e2b0e604ec7f6b50e80a9678b89d2628e99ada77a",
	7169:   "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817",
	8192:   "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63",
	8193:   "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b",
	16384:  "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
	31744:  "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
	100000: "d93c23eedaf165a7e0be908ba86f1a7a520d568d2d13cde787c8580c5c72cc54",
}

func TestKnownAnswers(t *testing.T) {
	for n, want := range known {
		b := pattern(n)
		if got := digest.Of(b); got.Hex() != want || got.String() != "blake3:"+want {
			t.Errorf("%d bytes: got %v", n, got)
		}
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(b), "one byte at a time": iotest.OneByteReader(bytes.NewReader(b))} {
			if got, size, err := digest.Read(r); err != nil || got.Hex() != want || size != int64(n) {
				t.Errorf("%d bytes, %s: got %v, %d, %v", n, name, got, size, err)
			}
		}
	}
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := digest.OfSHA256([]byte("abc")).String(); got != abc {
		t.Errorf("got %s", got)
	}
}

func TestHashIsReusable(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.BLAKE3, digest.SHA256} {
		h := digest.NewHash(algorithm)
		for _, content := range []string{"abc", "", "abc"} {
			h.Reset()
			if n, err := h.ReadFrom(strings.NewReader(content)); err != nil || n != int64(len(content)) {
				t.Fatalf("%d, %v", n, err)
			}
			want := digest.Of([]byte(content))
			if algorithm == digest.SHA256 {
				want = digest.OfSHA256([]byte(content))
			}
			for range 2 { // asking does not change it
				if got := h.Digest(); got != want {
					t.Errorf("%v of %q: got %v", algorithm, content, got)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, want := range []digest.Digest{digest.Of(nil), digest.OfSHA256(nil)} {
		if got, err := digest.Parse(want.String()); err != nil || got != want {
			t.Errorf("got %v, %v", got, err)
		}
	}
	hex := digest.Of(nil).Hex()
	for _, bad := range []string{
		"", ":", "blake3", "blake3:", hex, "blake3:" + hex[1:], "blake3:" + hex + "0", "blake3:" + strings.ToUpper(hex),
		"Blake3:" + hex, "md5:" + hex, ":" + hex, " blake3:" + hex, "blake3:" + hex + "\n", "blake3::" + hex, "blake3:" + "g" + hex[1:],
		"blake3:" + strings.Repeat("é", 32), "sha512:" + hex, strings.Repeat("x", 1<<20),
	} {
		got, err := digest.Parse(bad)
		if !errors.Is(err, digest.ErrInvalid) || !got.IsZero() {
			t.Errorf("%.80q: got %v, %v", bad, got, err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func TestZero(t *testing.T) {
	var zero digest.Digest
	if !zero.IsZero() || zero.String() != "" || zero.Hex() != "" || zero.Algorithm() != 0 || zero.Algorithm().String() != "none" {
		t.Errorf("got %q, %q", zero.String(), zero.Hex())
	}
	if digest.Of(nil).IsZero() || digest.New(digest.BLAKE3, [32]byte{}).IsZero() {
		t.Error("a digest that names something is zero")
	}
	if digest.Of(nil) == digest.New(digest.SHA256, digest.Of(nil).Bytes()) {
		t.Error("the algorithm makes no difference")
	}
}

func TestText(t *testing.T) {
	type document struct{ A, B digest.Digest }
	want := document{A: digest.Of(nil)}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got document
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s: got %v, %v", text, got, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"blake3:x"}`), &got); err == nil {
		t.Error("accepted")
	}
}

func TestBinary(t *testing.T) {
	for _, want := range []digest.Digest{{}, digest.Of(nil), digest.OfSHA256(nil)} {
		data, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got := digest.Of([]byte("what stood there before"))
		if err := got.UnmarshalBinary(data); err != nil || got != want {
			t.Errorf("%v: got %v, %v", want, got, err)
		}
		if len(want.AppendHex(nil)) != len(want.Hex()) {
			t.Errorf("%v: AppendHex gives %q", want, want.AppendHex(nil))
		}
	}
	whole, err := digest.Of(nil).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"cut": whole[:len(whole)-1], "too long": append(bytes.Clone(whole), 0), "no algorithm": append([]byte{0}, whole[1:]...),
		"an unknown algorithm": append([]byte{9}, whole[1:]...), "an algorithm alone": whole[:1],
	} {
		var got digest.Digest
		if err := got.UnmarshalBinary(bad); !errors.Is(err, digest.ErrInvalid) || !got.IsZero() {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestReader(t *testing.T) {
	content := pattern(100000)
	read := func(r io.Reader, want digest.Digest) ([]byte, error) { return io.ReadAll(digest.NewReader(r, want)) }
	for _, want := range []digest.Digest{digest.Of(content), digest.OfSHA256(content)} {
		got, err := read(iotest.HalfReader(bytes.NewReader(content)), want)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := read(iotest.DataErrReader(bytes.NewReader(content)), want); err != nil {
			t.Errorf("an end that comes with data: %v", err)
		}
		for name, other := range map[string][]byte{"flipped": append(bytes.Clone(content[:99999]), 0xff), "cut": content[:99999], "longer": append(bytes.Clone(content), 0), "none": nil} {
			_, err := read(bytes.NewReader(other), want)
			mismatch := (*digest.MismatchError)(nil)
			if !errors.Is(err, digest.ErrMismatch) || !errors.As(err, &mismatch) || mismatch.Want != want {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got, err := read(bytes.NewReader(content), digest.Digest{}); !errors.Is(err, digest.ErrMismatch) || len(got) > 0 {
		t.Errorf("against nothing: %d bytes, %v", len(got), err)
	}
	broken := errors.New("broken")
	if _, err := read(iotest.ErrReader(broken), digest.Of(nil)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(digest.Of(nil).String())
	f.Add(digest.OfSHA256(nil).String())
	f.Add("blake3:" + strings.Repeat("A", 64))
	f.Fuzz(func(t *testing.T, s string) {
		d, err := digest.Parse(s)
		if err != nil {
			if !d.IsZero() || !errors.Is(err, digest.ErrInvalid) {
				t.Fatalf("%v with error %v", d, err)
			}
			return
		}
		if d.String() != s {
			t.Fatalf("%q is written as %q", s, d)
		}
	})
}
