// SPDX-License-Identifier: Apache-2.0

package mask_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/mask"
)

func masker(t testing.TB, secrets ...string) *mask.Masker {
	t.Helper()
	var values [][]byte
	for _, s := range secrets {
		values = append(values, []byte(s))
	}
	m, err := mask.New(values...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestString(t *testing.T) {
	const pem = "-----BEGIN KEY-----\r\nMIIEowIBAAKCAQEA\r\nu1SU1LfVLPHCozMx\r\n-----END KEY-----\n"
	for _, test := range []struct {
		name    string
		secrets []string
		in, out string
	}{
		{"none", nil, "anything", "anything"},
		{"empty", []string{""}, "anything", "anything"},
		{"blank", []string{" \n"}, "any thing\n", "any thing\n"},
		{"itself", []string{"hunter2"}, "a hunter2 b", "a *** b"},
		{"alone", []string{"hunter2"}, "hunter2", "***"},
		{"its line end is none of it", []string{"hunter2\n"}, "hunter2;hunter2\n", "***;***\n"},
		{"twice, touching", []string{"hunter2"}, "hunter2hunter2.", "***."},
		{"overlapping itself", []string{"abab"}, "xababab.", "x***."},
		{"one in another", []string{"secret", "my-secret-key"}, "a my-secret-key or secret", "a *** or ***"},
		{"one after another, overlapping", []string{"abcdef", "defghi"}, "-abcdefghi-", "-***-"},
		{"begun and not ended", []string{"hunter2"}, "hunter", "hunter"},
		{"begun twice", []string{"aab"}, "aaab", "a***"},
		{"short", []string{"x1"}, "0x1f", "0***f"},
		{"one character", []string{"q"}, "quit", "***uit"},
		{"a line of several", []string{pem}, "key: u1SU1LfVLPHCozMx!", "key: ***!"},
		{"several lines", []string{pem}, "[" + pem + "]", "[***\n]"},
		{"several lines with other line ends", []string{pem}, strings.ReplaceAll(pem, "\r", ""), "***\n***\n***\n***\n"},
		{"a short line of several is none", []string{"{\nlong enough\n}"}, "{ }", "{ }"},
		{"quoted by a shell", []string{"it's one"}, `+ echo 'it'\''s one'`, `+ echo '***'`},
		{"a NUL", []string{"a\x00bcd"}, "a\x00bcd", "***"},
		{"not UTF-8", []string{"\xff\xfe\xfd\xfc"}, "<\xff\xfe\xfd\xfc>", "<***>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := masker(t, test.secrets...)
			if got := m.String(test.in); got != test.out {
				t.Errorf("String(%q) = %q, want %q", test.in, got, test.out)
			}
			if got, want := m.Found(test.in), test.in != test.out; got != want {
				t.Errorf("Found(%q) = %t", test.in, got)
			}
		})
	}
}

// TestForms: what programs turn a secret into, with other bytes around it.
func TestForms(t *testing.T) {
	secret := "p&ss/w0rd+<\"é\">\tend?"
	m := masker(t, secret)
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"query":       url.QueryEscape(secret),
		"path":        "https://host/" + url.PathEscape(secret) + "/x",
		"lower query": strings.ToLower(url.QueryEscape(secret)),
		"json":        string(quoted),
		"hex":         hex.EncodeToString([]byte(secret)),
	}
	for before := range 4 {
		for after := range 4 {
			whole := strings.Repeat("<", before) + secret + strings.Repeat(">", after)
			name := strings.Repeat("-", before) + "base64" + strings.Repeat("-", after)
			texts[name] = base64.StdEncoding.EncodeToString([]byte(whole))
			texts[name+" url"] = base64.RawURLEncoding.EncodeToString([]byte(whole))
		}
	}
	for name, text := range texts {
		got := m.String(text)
		if !strings.Contains(got, mask.Replacement) {
			t.Errorf("%s: %q is not masked", name, text)
		}
		// At the ends there may be characters that hold bits of other bytes too.
		if strings.Contains(name, "base64") && len(got) > len("***")+12 {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
}

// TestWrapped: a long value in base64, cut into lines as base64(1) does.
func TestWrapped(t *testing.T) {
	secret := strings.Repeat("0123456789abcdefghijklmnopqrstuv", 8)
	text := base64.StdEncoding.EncodeToString([]byte(secret))
	var wrapped strings.Builder
	for ; len(text) > 76; text = text[76:] {
		wrapped.WriteString(text[:76] + "\n")
	}
	wrapped.WriteString(text + "\n")
	got := masker(t, secret).String(wrapped.String())
	if want := strings.Repeat("***\n", strings.Count(wrapped.String(), "\n")); got != want {
		t.Errorf("got %q", got)
	}
}

func TestTooLong(t *testing.T) {
	if _, err := mask.New(bytes.Repeat([]byte("x"), mask.MaxValue+1)); !errors.Is(err, mask.ErrTooLong) {
		t.Errorf("error %v", err)
	}
	// The longest still is looked for, and does not take for ever.
	long := strings.Repeat("0123456789abcdef\n", mask.MaxValue/17)
	if got := masker(t, long).String("<" + long + ">"); got != "<***\n>" {
		t.Errorf("got %d bytes", len(got))
	}
}

// TestWriter: however a stream is cut, the same comes out, and a byte that
// cannot belong to a secret is not held back.
func TestWriter(t *testing.T) {
	m := masker(t, "hunter2", "terrible")
	const in = "a hunter2, hunterrible hunter\nhunter2hunter2 hunt"
	want := m.String(in)
	for cut := 1; cut <= len(in); cut++ {
		var out strings.Builder
		w := m.Writer(&out)
		for i := 0; i < len(in); i += cut {
			if n, err := w.Write([]byte(in[i:min(i+cut, len(in))])); err != nil || n != min(cut, len(in)-i) {
				t.Fatal(n, err)
			}
		}
		if err := w.Flush(); err != nil || out.String() != want {
			t.Errorf("cut every %d: %q, want %q (%v)", cut, out.String(), want, err)
		}
	}
	var out strings.Builder
	w := m.Writer(&out)
	for _, step := range []struct{ in, out string }{
		{"line\n", "line\n"}, {"hu", "line\n"}, {"h", "line\nhu"}, {"unter2", "line\nhu***"}, {"\n", "line\nhu***\n"},
	} {
		if _, err := w.Write([]byte(step.in)); err != nil || out.String() != step.out {
			t.Errorf("after %q: %q, want %q", step.in, out.String(), step.out)
		}
	}
}

// FuzzWriter holds the stream against the simplest thing that does the same: to
// look for every form at every place.
func FuzzWriter(f *testing.F) {
	f.Add("hunter2", "nter", "hunter2 hunternter2nter", uint8(3))
	f.Add("aab", "aaab", "aaaabaab", uint8(1))
	f.Add("ab\ncdefg\nhijk", "x", "cdefg x hijk ab\ncdefg\nhijk", uint8(2))
	f.Add("s3cr3t!", "%21", url.QueryEscape("s3cr3t!")+base64.StdEncoding.EncodeToString([]byte("us3cr3t!")), uint8(5))
	f.Fuzz(func(t *testing.T, first, second, text string, cut uint8) {
		if len(first) > 1000 || len(second) > 1000 || len(text) > 10000 {
			return
		}
		m, err := mask.New([]byte(first), []byte(second))
		if err != nil {
			t.Fatal(err)
		}
		want := mask.Naive(text, first, second)
		if got := m.String(text); got != want {
			t.Fatalf("String(%q) with %q and %q: %q, want %q", text, first, second, got, want)
		}
		var out strings.Builder
		w := m.Writer(&out)
		for rest := text; rest != ""; {
			n := min(int(cut)+1, len(rest))
			_, _ = w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil || out.String() != want {
			t.Fatalf("in pieces of %d: %q, want %q (%v)", int(cut)+1, out.String(), want, err)
		}
		for _, secret := range []string{strings.TrimSpace(first), strings.TrimSpace(second)} {
			if secret != "" && !strings.Contains(mask.Replacement, secret) && strings.Contains(strings.ReplaceAll(out.String(), mask.Replacement, "\x00*\x00"), secret) &&
				!strings.ContainsAny(secret, "\x00*") {
				t.Fatalf("%q still stands in %q", secret, out.String())
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	line := []byte(strings.Repeat("go: downloading example.org/module v1.2.3 ", 20) + "\n")
	m := masker(b, "ghp_0123456789abcdefABCDEF", strings.Repeat("MIIEowIBAAKCAQEAu1SU1LfVLPHCozMx\n", 40))
	b.SetBytes(int64(len(line)))
	w := m.Writer(&bytes.Buffer{})
	for b.Loop() {
		_, _ = w.Write(line)
	}
}
