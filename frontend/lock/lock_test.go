// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/source"
)

func sha(s string) digest.Digest { return digest.OfSHA256([]byte(s)) }

// example is the one in FORMAT.md.
func example(t testing.TB) []byte {
	t.Helper()
	page, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(page, []byte("```json\n"))
	text, _, ok := bytes.Cut(rest, []byte("```"))
	if !ok {
		t.Fatal("FORMAT.md has no example")
	}
	return text
}

func parse(text []byte) (*lock.Lock, error) {
	return lock.Parse(&source.File{Name: "attest.lock", Data: text})
}

func TestExample(t *testing.T) {
	l, err := parse(example(t))
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := l.Image("golang:1.26"); !ok || !strings.HasPrefix(d.String(), "sha256:7f5a") {
		t.Errorf("the image is %v", d)
	}
	want := map[string]digest.Digest{"https://proxy.example.org/mod/@v/v1.0.0.zip": sha("abc")}
	if diff := cmp.Diff(want, l.Fetches("deps"), cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("fetches (-want +got):\n%s", diff)
	}
	if l.Fetches("other") != nil {
		t.Error("another step has fetches")
	}
}

func TestEncode(t *testing.T) {
	l := &lock.Lock{
		Images: map[string]digest.Digest{"b": sha("b"), "a<&>\u2028\"\\\x01": sha("a")},
		Steps: map[string]map[string]digest.Digest{
			"z":    {"https://example.org/2": sha("2"), "https://example.org/10?a=b&c": sha("10")},
			"none": {},
		},
	}
	text, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "schema": "attest.lock/v1",
  "images": {
    "a<&>\u2028\"\\\u0001": "` + sha("a").String() + `",
    "b": "` + sha("b").String() + `"
  },
  "steps": {
    "z": {
      "https://example.org/10?a=b&c": "` + sha("10").String() + `",
      "https://example.org/2": "` + sha("2").String() + `"
    }
  }
}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	delete(l.Steps, "none")
	if diff := cmp.Diff(l, again, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	if text, err := (&lock.Lock{}).Encode(); err != nil || string(text) != "{\n  \"schema\": \"attest.lock/v1\"\n}\n" {
		t.Errorf("an empty lock: %q, %v", text, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, l := range map[string]lock.Lock{
		"no name":     {Images: map[string]digest.Digest{"": sha("a")}},
		"no text":     {Images: map[string]digest.Digest{"\xff": sha("a")}},
		"no digest":   {Images: map[string]digest.Digest{"a": {}}},
		"blake3":      {Images: map[string]digest.Digest{"a": digest.Of(nil)}},
		"no step":     {Steps: map[string]map[string]digest.Digest{"": {"http://a/": sha("a")}}},
		"no URL":      {Steps: map[string]map[string]digest.Digest{"s": {"a": sha("a")}}},
		"not of HTTP": {Steps: map[string]map[string]digest.Digest{"s": {"file:///a": sha("a")}}},
	} {
		if _, err := l.Encode(); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is wrong is said with its place.
func TestParseRefuses(t *testing.T) {
	good := string(example(t))
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the example has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "attest.lock:1:1: this is not the beginning"},
		{"YAML", "schema: attest.lock/v1\n", "attest.lock:1:1: this is not the beginning"},
		{"byte order mark", "\uFEFF" + good, "attest.lock:1:1: this is not the beginning"},
		{"a newer version", change("lock/v1", "lock/v2"), "attest.lock:2:27: version \"2\" of the format"},
		{"cut off", good[:len(good)-20], "the end of the file is missing"},
		{"a conflict", change(`  "steps"`, "<<<<<<< HEAD\n  \"steps\""), "attest.lock:6:1: invalid character '<'"},
		{"an unknown key", change(`"images"`, `"pictures"`), `unknown field "pictures"`},
		{"a key in capitals", change(`"images"`, `"Images"`), "attest.lock:3:4: this is not how attest writes it"},
		{"a key twice", change(`"steps"`, `"images"`), "cannot be a object"},
		{"a name twice", change("\n  },\n  \"steps\"", ",\n    \"golang:1.26\": \"sha256:"+strings.Repeat("0", 64)+"\"\n  },\n  \"steps\""), "attest.lock:4:"},
		{"another order", change("{\n  \"schema\": \"attest.lock/v1\",", "{\n  \"schema\": \"attest.lock/v1\",\n  \"steps\": {},"), "attest.lock:3:"},
		{"a number", change(`"sha256:7f5a`, `12, "x": "`), "cannot be a number"},
		{"a short digest", change("sha256:ba78", "sha256:78"), `attest.lock:8:7: the digest of "https://proxy.example.org`},
		{"capitals in a digest", change("sha256:ba78", "sha256:BA78"), `attest.lock:8:7: the digest of "https://`},
		{"another algorithm", change("sha256:7f5a", "blake3:7f5a"), `attest.lock:4:5: the digest of "golang:1.26" is not sha256`},
		{"another scheme", change("https://", "ftp://"), "attest.lock:8:7: \"ftp://"},
		{"an empty object", change("{\n      \"https", "{},\n    \"x\": {\n      \"https"), "attest.lock:7:"},
		{"another indentation", change("\n  \"steps\"", "\n   \"steps\""), "attest.lock:6:3: this is not how"},
		{"another escape", change("golang", `\u0067olang`), "attest.lock:4:6: this is not how"},
		{"carriage returns", strings.ReplaceAll(good, "\n", "\r\n"), "attest.lock:1:2: this is not the beginning"},
		{"no last line feed", strings.TrimSuffix(good, "\n"), "attest.lock:11:2: this is not how"},
		{"more behind it", good + "\n", "attest.lock:12:1: this is not how"},
		{"a second document", good + good, "attest.lock:12:1: this is not how"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := parse([]byte(test.text))
			var at *source.Error
			if l != nil || !errors.Is(err, lock.ErrInvalid) || !errors.As(err, &at) || at.Pos.Line == 0 || len(at.Hints) == 0 {
				t.Fatalf("got %v, %v, want an error with a place and a hint", l, err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "attest.lock")
	if l, err := lock.Load(path, "attest.lock"); l != nil || err != nil {
		t.Errorf("a lock that is not there: %v, %v", l, err)
	}
	if err := os.WriteFile(path, example(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := lock.Load(path, "attest.lock"); err != nil || len(l.Images) != 1 {
		t.Errorf("got %v, %v", l, err)
	}
	if _, err := lock.Load(dir, "attest.lock"); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("a folder: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Load(fifo, "attest.lock"); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("a FIFO: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, lock.MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Load(path, "attest.lock"); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("a large file: %v", err)
	}
}

func TestName(t *testing.T) {
	for file, want := range map[string]string{"attest.yaml": "attest.lock", "/a.b/ci.yml": "/a.b/ci.lock", "x": "x.lock"} {
		if got := lock.Name(file); got != want {
			t.Errorf("Name(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestWith(t *testing.T) {
	old := &lock.Lock{
		Images: map[string]digest.Digest{"a": sha("1"), "b": sha("1")},
		Steps:  map[string]map[string]digest.Digest{"s": {"http://x/old": sha("1")}, "t": {"http://x/t": sha("1")}},
	}
	sum := old.With(&lock.Lock{
		Images: map[string]digest.Digest{"a": sha("2")},
		Steps:  map[string]map[string]digest.Digest{"s": {"http://x/new": sha("2")}},
	})
	want := &lock.Lock{
		Images: map[string]digest.Digest{"a": sha("2"), "b": sha("1")},
		Steps:  map[string]map[string]digest.Digest{"s": {"http://x/new": sha("2")}, "t": {"http://x/t": sha("1")}},
	}
	if diff := cmp.Diff(want, sum, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var none *lock.Lock
	if _, ok := none.Image("a"); ok || none.Fetches("s") != nil || len(none.With(nil).Images) != 0 {
		t.Error("no lock locks something")
	}
}

// FuzzParse: what is read is written again the same, and nothing comes back
// with an error.
func FuzzParse(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte("{\n  \"schema\": \"attest.lock/v1\"\n}\n"))
	f.Add([]byte("{\n  \"schema\": \"attest.lock/v1\",\n  \"images\": {\n    \"\\u2028\": \"sha256:\"\n  }\n}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parse(text)
		if err != nil {
			if l != nil || !errors.Is(err, lock.ErrInvalid) {
				t.Fatalf("got %v and %v", l, err)
			}
			return
		}
		again, err := l.Encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q was read, and is written %q, %v", text, again, err)
		}
	})
}
