// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

func file(path, content string) tree.Entry {
	return tree.Entry{
		Path: path, Kind: tree.File, Perm: 0o644, Size: int64(len(content)),
		Digest: digest.Of([]byte(content)), SHA256: digest.OfSHA256([]byte(content)),
	}
}

func link(path, target string) tree.Entry {
	e := file(path, target)
	e.Kind, e.Perm, e.Target = tree.Symlink, 0o777, target
	return e
}

// vector is the entry of FORMAT.md.
func vector(t testing.TB) *Entry {
	t.Helper()
	outputs, err := tree.New([]tree.Entry{file("dist/a b", "1\n"), link("dist/l", "a b")})
	if err != nil {
		t.Fatal(err)
	}
	return &Entry{
		Key: digest.Of([]byte(`{"a"}`)), Outputs: outputs, Facts: []byte("{}"), Stored: time.Unix(1, 0),
		Folders: []tree.Entry{{Path: "dist", Kind: tree.Dir, Perm: 0o755}},
	}
}

// TestVector compares with the text in FORMAT.md.
func TestVector(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(doc), "## Test vector")
	_, text, ok2 := strings.Cut(text, "```\n")
	text, _, ok3 := strings.Cut(text, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatal("FORMAT.md has no vector")
	}
	if got := string(vector(t).marshal()); got != text {
		t.Errorf("FORMAT.md has\n%s\nand the entry is\n%s", text, got)
	}
}

// seal gives a text the last line that makes it a record.
func seal(body string) []byte {
	return []byte(body + fmt.Sprintf("end %s\n", digest.Of([]byte(body)).Hex()))
}

// TestUnmarshalRefuses changes a record in ways that a digest does not show.
func TestUnmarshalRefuses(t *testing.T) {
	e := vector(t)
	record := string(e.marshal())
	body := record[:len(record)-endLength]
	if _, err := unmarshal(e.Key, seal(body)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another version":         {"attest.result/v1", "attest.result/v2"},
		"no key":                  {"key " + e.Key.Hex(), "key -"},
		"another key":             {"key " + e.Key.Hex(), "key " + digest.Of(nil).Hex()},
		"a number with a sign":    {"outputs 2", "outputs +2"},
		"a number with a zero":    {"outputs 2", "outputs 02"},
		"too few outputs":         {"outputs 2", "outputs 1"},
		"too many outputs":        {"outputs 2", "outputs 3"},
		"endless outputs":         {"outputs 2", "outputs 9223372036854775807"},
		"a negative count":        {"outputs 2", "outputs -2"},
		"endless facts":           {"facts 2:", "facts 9223372036854775807:"},
		"a log without a digest":  {"log 0 -", "log 5 -"},
		"a digest without a log":  {"log 0 -", "log 0 " + digest.Of(nil).Hex()},
		"a mode with setuid":      {"f 0644", "f 4755"},
		"a short mode":            {"f 0644", "f 644"},
		"a mode of letters":       {"f 0644", "f 06x4"},
		"a link with a mode":      {"l 0777", "l 0755"},
		"a link of another size":  {"l 0777 3 ", "l 0777 4 "},
		"a text that goes on":     {"8:dist/a b\n", "8:dist/a b "},
		"a SHA-256 in upper case": {e.Outputs.Entries()[0].SHA256.Hex(), strings.ToUpper(e.Outputs.Entries()[0].SHA256.Hex())},
		"a folder with a size":    {"l 0777 3 " + e.Outputs.Entries()[1].Digest.Hex() + " " + e.Outputs.Entries()[1].SHA256.Hex() + " 6:dist/l 3:a b", "d 0755 3 - - 6:dist/l"},
		"a folder with a SHA-256": {"l 0777 3 " + e.Outputs.Entries()[1].Digest.Hex() + " " + e.Outputs.Entries()[1].SHA256.Hex() + " 6:dist/l 3:a b", "d 0755 0 - " + e.Outputs.Entries()[1].SHA256.Hex() + " 6:dist/l"},
		"outputs out of order":    {"6:dist/l", "6:dist/A"},
		"an unknown kind":         {"f 0644", "p 0644"},
		"a file as a folder":      {"f 0644", "d 0644"},
		"an absolute path":        {"8:dist/a b", "8:/ist/a b"},
		"a path that leaves":      {"8:dist/a b", "8:../t/a b"},
		"a path that is not":      {"8:dist/a b", "0:"},
		"an output twice":         {"6:dist/l", "8:dist/a b"},
		"a path of another size":  {"8:dist/a b", "7:dist/a b"},
		"another target":          {"3:a b\n", "3:a c\n"},
		"another folder":          {"0755 4:dist", "0755 4:dust"},
		"no folder":               {"folders 1\n0755 4:dist\n", "folders 0\n"},
		"something at the end":    {"0755 4:dist\n", "0755 4:dist\n\n"},
		"a digest in upper case":  {e.Outputs.Entries()[0].Digest.Hex(), strings.ToUpper(e.Outputs.Entries()[0].Digest.Hex())},
		"a file without a digest": {e.Outputs.Entries()[0].Digest.Hex(), "-"},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if changed == body {
			t.Fatalf("%s: %q is not in it", name, change[0])
		}
		if _, err := unmarshal(e.Key, seal(changed)); !errors.Is(err, cas.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for i := range record {
		flipped := []byte(record)
		flipped[i] ^= 1
		if _, err := unmarshal(e.Key, flipped); err == nil {
			t.Errorf("byte %d flipped", i)
		}
		if _, err := unmarshal(e.Key, []byte(record[:i])); err == nil {
			t.Errorf("cut after %d bytes", i)
		}
	}
}

// TestUnmarshalFolder reads an output that is an empty folder: the only thing without
// digests.
func TestUnmarshalFolder(t *testing.T) {
	e := vector(t)
	outputs, err := tree.New([]tree.Entry{file("dist/a b", "1\n"), {Path: "dist/l", Kind: tree.Dir, Perm: 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	e.Outputs = outputs
	if got, err := unmarshal(e.Key, e.marshal()); err != nil || !bytes.Equal(got.marshal(), e.marshal()) {
		t.Errorf("got %v", err)
	}
}

// FuzzUnmarshal makes sure that what is read is written back as it was.
func FuzzUnmarshal(f *testing.F) {
	e := vector(f)
	record := e.marshal()
	f.Add(record[:len(record)-endLength])
	f.Add([]byte(recordHeader))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := seal(string(body))
		got, err := unmarshal(e.Key, data)
		if err != nil {
			if got != nil {
				t.Error("an entry, though there is an error")
			}
			return
		}
		if !bytes.Equal(got.marshal(), data) {
			t.Errorf("%q becomes %q", data, got.marshal())
		}
	})
}

// FuzzParseLast is the same for last keys.
func FuzzParseLast(f *testing.F) {
	f.Add([]byte(lastHeader + strings.Repeat("0", 64) + " 4:a\nbc\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := seal(string(body))
		keys, err := parseLast(data)
		if err == nil && !bytes.Equal(marshalLast(keys), data) {
			t.Errorf("%q becomes %q", data, marshalLast(keys))
		}
	})
}
