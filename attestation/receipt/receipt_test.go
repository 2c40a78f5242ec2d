// SPDX-License-Identifier: Apache-2.0

package receipt_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

// sameDigest lets cmp compare digests, which have no exported fields.
var sameDigest = cmp.Comparer(func(a, b digest.Digest) bool { return a == b })

func signed(t *testing.T) (*receipt.Receipt, []byte) {
	t.Helper()
	r := receipttest.Sample()
	if err := receipt.Sign(r, receipttest.Key(1)); err != nil {
		t.Fatal(err)
	}
	data, err := receipt.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, data
}

// golden compares with testdata/name, or writes it with ATTEST_UPDATE=1.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("ATTEST_UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// The vectors of FORMAT.md.
func TestVectors(t *testing.T) {
	r, data := signed(t)
	golden(t, "receipt.yaml", data)
	message, err := r.SignedBytes()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "receipt.signed.json", message)
	golden(t, "receipt.signature", []byte(r.Signature+"\n"))
	golden(t, "public.key", receipttest.Key(1).Public().PEM())
}

func TestParseIsTheWayBack(t *testing.T) {
	want, data := signed(t)
	got, err := receipt.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if _, err := got.VerifySignature(receipttest.Key(1).Public()); err != nil {
		t.Error(err)
	}
}

// A receipt may lack all that is optional.
func TestTheLeastReceipt(t *testing.T) {
	full := receipttest.Sample()
	want := &receipt.Receipt{
		Schema: full.Schema, PipelineHash: full.PipelineHash, Timestamp: full.Timestamp, Version: full.Version,
		Status: full.Status, Pipeline: full.Pipeline, Environment: full.Environment,
		Steps: []receipt.Step{{Name: "a", Command: "true", Status: receipt.Succeeded, Cache: receipt.Off, Isolation: "process"}},
	}
	data, err := receipt.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := receipt.Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if d := cmp.Diff(want, got, sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A general YAML reader must see the same document that is signed.
func TestYAMLReadersAgree(t *testing.T) {
	r, data := signed(t)
	var viaYAML, viaJSON map[string]any
	if err := yaml.Unmarshal(data, &viaYAML); err != nil {
		t.Fatal(err)
	}
	message, err := r.SignedBytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(message, &viaJSON); err != nil { // JSON is YAML, and numbers get one type
		t.Fatal(err)
	}
	if viaYAML["signature"] != r.Signature {
		t.Errorf("signature: %v", viaYAML["signature"])
	}
	delete(viaYAML, "signature")
	if d := cmp.Diff(viaJSON, viaYAML); d != "" {
		t.Errorf("-signed +YAML:\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	_, data := signed(t)
	text := string(data)
	swap := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	tests := []struct {
		name, in string
		want     error
		says     string
	}{
		{"nothing", "", receipt.ErrInvalid, "line 1"},
		{"binary", "\x7fELF\x00\xff", receipt.ErrInvalid, "line 1"},
		{"newer", swap("receipt/v1", "receipt/v2"), receipt.ErrNewer, "upgrade attest"},
		{"much newer", swap("receipt/v1", "receipt/v10"), receipt.ErrNewer, "upgrade attest"},
		{"no schema of ours", swap("receipt/v1", "receipt/v01"), receipt.ErrInvalid, "want schema"},
		{"quoted schema", swap("attest.receipt/v1", `"attest.receipt/v1"`), receipt.ErrInvalid, "want schema"},
		{"byte order mark", "\ufeff" + text, receipt.ErrInvalid, "line 1"},
		{"bytes at the end", text + "x", receipt.ErrInvalid, "out of place"},
		{"a second document", text + "---\n" + text, receipt.ErrInvalid, "out of place"},
		{"an empty line at the end", text + "\n", receipt.ErrInvalid, "out of place"},
		{"no newline at the end", strings.TrimSuffix(text, "\n"), receipt.ErrInvalid, "want"},
		{"CRLF", strings.ReplaceAll(text, "\n", "\r\n"), receipt.ErrInvalid, "line 1"},
		{"a comment", swap("\nstatus", "\n# note\nstatus"), receipt.ErrInvalid, "line 6"},
		{"an unknown key", swap("\nstatus", "\nfoo: 1\nstatus"), receipt.ErrInvalid, `key "foo" is unknown`},
		{"an unknown key in a step", swap("\n    status", "\n    foo: 1\n    status"), receipt.ErrInvalid, `key "foo" is unknown`},
		{"a repeated key", swap("\nstatus", "\nattest_version: \"0.1.0\"\nstatus"), receipt.ErrInvalid, "repeated"},
		{"a repeated key in a row", swap(`{path: "src/", `, `{path: "src/", path: "src/", `), receipt.ErrInvalid, `want key "hash"`},
		{"a re-cased key", swap("\nstatus", "\nStatus"), receipt.ErrInvalid, `key "Status"`},
		{"keys in another order", swap("{name: my-project, file: \"ci/attest pipeline.yaml\"}", "{file: \"ci/attest pipeline.yaml\", name: my-project}"), receipt.ErrInvalid, `want key "name"`},
		{"a missing key", swap("total_duration_secs: 127\n", ""), receipt.ErrInvalid, `"total_duration_secs"`},
		{"more space", swap("status: succ", "status:  succ"), receipt.ErrInvalid, "line 6"},
		{"space at a line's end", swap("succeeded\n", "succeeded \n"), receipt.ErrInvalid, "line 6"},
		{"a tab", swap("    status", "\tstatus"), receipt.ErrInvalid, "line 14"},
		{"an anchor", swap("my-project", "&a my-project"), receipt.ErrInvalid, "no word"},
		{"an alias", swap("my-project", "*a"), receipt.ErrInvalid, "no word"},
		{"a tag", swap("my-project", "!!str my-project"), receipt.ErrInvalid, "no word"},
		{"a merge key", swap("\n    status", "\n    <<: {a: b}\n    status"), receipt.ErrInvalid, "<<"},
		{"single quotes", swap("my-project", "'my-project'"), receipt.ErrInvalid, "no word"},
		{"a word in quotes", swap("my-project", `"my-project"`), receipt.ErrNotCanonical, "line 7"},
		{"a reserved word without quotes", swap(`DEBUG: "off"`, `DEBUG: off`), receipt.ErrInvalid, "off"},
		{"an escape without need", swap(`"build"`, `"\u0062uild"`), receipt.ErrNotCanonical, "line 11"},
		{"an upper-case escape", swap(`\u202e`, `\u202E`), receipt.ErrNotCanonical, "line 12"},
		{"an escape of JSON alone", swap(`"build"`, `"\/build"`), receipt.ErrInvalid, "escape"},
		{"a cut escape", swap(`"build"`, `"\u00"`), receipt.ErrInvalid, "escape"},
		{"a surrogate", swap(`"build"`, `"\ud83d\ude00"`), receipt.ErrNotCanonical, ""},
		{"a string without end", swap(`"build"`, `"build`), receipt.ErrInvalid, "without an end"},
		{"a raw direction override", swap(`\u202e`, "\u202e"), receipt.ErrNotCanonical, ""},
		{"invalid UTF-8", swap(`"build"`, "\"bu\xffild\""), receipt.ErrInvalid, "UTF-8"},
		{"environment in another order", swap(`{DEBUG: "off", EMPTY: "", `, `{EMPTY: "", DEBUG: "off", `), receipt.ErrNotCanonical, ""},
		{"a variable twice", swap(`{DEBUG: "off", `, `{DEBUG: "off", DEBUG: "off", `), receipt.ErrNotCanonical, ""},
		{"127.0", swap("secs: 127\n", "secs: 127.0\n"), receipt.ErrNotCanonical, ""},
		{"0127", swap("secs: 127\n", "secs: 0127\n"), receipt.ErrNotCanonical, ""},
		{"127.0001", swap("secs: 127\n", "secs: 127.0001\n"), receipt.ErrInvalid, "seconds"},
		{"-127", swap("secs: 127\n", "secs: -127\n"), receipt.ErrInvalid, "seconds"},
		{"1e2", swap("secs: 127\n", "secs: 1e2\n"), receipt.ErrInvalid, "seconds"},
		{"beyond 292 years", swap("secs: 127\n", "secs: 9999999999\n"), receipt.ErrInvalid, ""},
		{".nan", swap("secs: 127\n", "secs: .nan\n"), receipt.ErrInvalid, "seconds"},
		{"exit code +0", swap("exit_code: 0", "exit_code: +0"), receipt.ErrNotCanonical, ""},
		{"exit code beyond 32 bits", swap("exit_code: 0", "exit_code: 4294967296"), receipt.ErrInvalid, "whole number"},
		{"dirty: yes", swap("dirty: true", "dirty: yes"), receipt.ErrInvalid, "true or false"},
		{"dirty: T", swap("dirty: true", "dirty: T"), receipt.ErrNotCanonical, ""},
		{"local time", swap("14:30:52Z", "14:30:52+01:00"), receipt.ErrInvalid, ""},
		{"30 February", swap("2026-12-01", "2026-02-30"), receipt.ErrInvalid, ""},
		{"SHA-256 for a pipeline", swap(`pipeline_hash: "blake3:`, `pipeline_hash: "sha256:`), receipt.ErrInvalid, "BLAKE3"},
		{"upper-case digest", strings.ToUpper(text[:200]) + text[200:], receipt.ErrInvalid, ""},
		{"no signature beside a key", text[:strings.Index(text, "signature: ")] + text[strings.Index(text, "signer_public_key"):], receipt.ErrInvalid, "go together"},
		{"too large", text + strings.Repeat(" ", receipt.MaxSize), receipt.ErrInvalid, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := receipt.Parse([]byte(tt.in))
			if r != nil || !errors.Is(err, tt.want) || !errors.Is(err, receipt.ErrInvalid) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %v, %v; want an error that matches %v and says %q", r != nil, err, tt.want, tt.says)
			}
		})
	}
}

func TestMarshalRefuses(t *testing.T) {
	path := func(p receipt.Path) func(*receipt.Receipt) {
		return func(r *receipt.Receipt) { r.Steps[0].Inputs = []receipt.Path{p} }
	}
	file := receipt.Path{Path: "a", Mode: "0644", Hash: digest.Of(nil)}
	with := func(change func(*receipt.Path)) func(*receipt.Receipt) {
		p := file
		change(&p)
		return path(p)
	}
	program := func(name string) func(*receipt.Receipt) {
		return func(r *receipt.Receipt) { r.Steps[0].Programs = []receipt.File{{Path: name, Hash: file.Hash}} }
	}
	tests := []struct {
		name   string
		change func(*receipt.Receipt)
	}{
		{"no schema", func(r *receipt.Receipt) { r.Schema = "" }},
		{"no pipeline hash", func(r *receipt.Receipt) { r.PipelineHash = digest.Digest{} }},
		{"year 0", func(r *receipt.Receipt) { r.Timestamp = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) }},
		{"year 10000", func(r *receipt.Receipt) { r.Timestamp = r.Timestamp.AddDate(10000, 0, 0) }},
		{"negative duration", func(r *receipt.Receipt) { r.Duration = -time.Second }},
		{"a skipped run", func(r *receipt.Receipt) { r.Status = receipt.Skipped }},
		{"no status", func(r *receipt.Receipt) { r.Steps[0].Status = "" }},
		{"no cache", func(r *receipt.Receipt) { r.Steps[0].Cache = "" }},
		{"an exit code of more than 32 bits", func(r *receipt.Receipt) { r.Steps[0].ExitCode = 1 << 31 }},
		{"an exit code of less than 32 bits", func(r *receipt.Receipt) { r.Steps[0].ExitCode = -1<<31 - 1 }},
		{"no isolation", func(r *receipt.Receipt) { r.Steps[0].Isolation = "" }},
		{"no steps", func(r *receipt.Receipt) { r.Steps = nil }},
		{"no name", func(r *receipt.Receipt) { r.Steps[1].Name = "" }},
		{"one name twice", func(r *receipt.Receipt) { r.Steps[1].Name = r.Steps[0].Name }},
		{"pipeline file outside", func(r *receipt.Receipt) { r.Pipeline.File = "../attest.yaml" }},
		{"pipeline file absolute", func(r *receipt.Receipt) { r.Pipeline.File = "/attest.yaml" }},
		{"text that is not UTF-8", func(r *receipt.Receipt) { r.Steps[0].Error = "\xff" }},
		{"a commit that is not UTF-8", func(r *receipt.Receipt) { r.Source = &receipt.Source{Commit: "\xff"} }},
		{"a variable that is not UTF-8", func(r *receipt.Receipt) { r.Steps[0].Env = map[string]string{"A": "\xff"} }},
		{"a SHA-256 key", func(r *receipt.Receipt) { r.Steps[0].Key = digest.OfSHA256(nil) }},
		{"half a signature", func(r *receipt.Receipt) { r.Signature = "ed25519:" + strings.Repeat("0", 128) }},
		{"a short signature", func(r *receipt.Receipt) {
			r.Signature, r.SignerPublicKey = "ed25519:00", "ed25519:"+strings.Repeat("0", 64)
		}},
		{"a signature in capitals", func(r *receipt.Receipt) {
			r.Signature, r.SignerPublicKey = "ed25519:"+strings.Repeat("A", 128), "ed25519:"+strings.Repeat("0", 64)
		}},
		{"a signature without a prefix", func(r *receipt.Receipt) {
			r.Signature, r.SignerPublicKey = strings.Repeat("0", 128), "ed25519:"+strings.Repeat("0", 64)
		}},
		{"a signature with more behind it", func(r *receipt.Receipt) {
			r.Signature, r.SignerPublicKey = "ed25519:"+strings.Repeat("0", 128)+"x", "ed25519:"+strings.Repeat("0", 64)
		}},
		{"the parent", with(func(p *receipt.Path) { p.Path, p.Mode = "../", "" })},
		{"parent", with(func(p *receipt.Path) { p.Path = "../a" })},
		{"parent in the middle", with(func(p *receipt.Path) { p.Path = "a/../b" })},
		{"absolute", with(func(p *receipt.Path) { p.Path = "/a" })},
		{"dot", with(func(p *receipt.Path) { p.Path = "./a" })},
		{"the project", with(func(p *receipt.Path) { p.Path, p.Mode = "./", "" })},
		{"root", with(func(p *receipt.Path) { p.Path, p.Mode = "/", "" })},
		{"two slashes", with(func(p *receipt.Path) { p.Path, p.Mode = "a//", "" })},
		{"NUL", with(func(p *receipt.Path) { p.Path = "a\x00b" })},
		{"not UTF-8", with(func(p *receipt.Path) { p.Path = "a\xff" })},
		{"a file without mode", with(func(p *receipt.Path) { p.Mode = "" })},
		{"a folder with mode", with(func(p *receipt.Path) { p.Path = "a/" })},
		{"another mode", with(func(p *receipt.Path) { p.Mode = "0777" })},
		{"no hash", with(func(p *receipt.Path) { p.Hash = digest.Digest{} })},
		{"an input with two digests", with(func(p *receipt.Path) { p.SHA256 = digest.OfSHA256(nil) })},
		{"an output with one digest", func(r *receipt.Receipt) { r.Steps[0].Outputs = []receipt.Path{file} }},
		{"paths out of order", func(r *receipt.Receipt) {
			b := file
			b.Path = "b"
			r.Steps[0].Inputs = []receipt.Path{b, file}
		}},
		{"a path twice", func(r *receipt.Receipt) { r.Steps[0].Inputs = []receipt.Path{file, file} }},
		{"caches out of order", func(r *receipt.Receipt) { r.Steps[0].Caches = []string{"b", "a"} }},
		{"a secret twice", func(r *receipt.Receipt) { r.Steps[0].Secrets = []string{"A", "A"} }},
		{"a secret without a name", func(r *receipt.Receipt) { r.Steps[0].Secrets = []string{""} }},
		{"what was not fetched twice", func(r *receipt.Receipt) { r.Steps[0].Unfetched[1] = r.Steps[0].Unfetched[0] }},
		{"a fetch without a digest", func(r *receipt.Receipt) { r.Steps[0].Fetched[0].SHA256 = digest.Of(nil) }},
		{"a fetch without an address", func(r *receipt.Receipt) { r.Steps[0].Fetched[0].URL = "" }},
		{"a fetch twice", func(r *receipt.Receipt) { r.Steps[0].Fetched[1] = r.Steps[0].Fetched[0] }},
		{"fetches out of order", func(r *receipt.Receipt) { r.Steps[0].Fetched[0].URL = "z" }},
		{"read outside", func(r *receipt.Receipt) { r.Steps[0].Read[0].Path = "../x" }},
		{"read without a digest", func(r *receipt.Receipt) { r.Steps[0].Read[0].Hash = digest.Digest{} }},
		{"a program of nowhere", program("bin/sh")},
		{"a program on a detour", program("/bin/../sh")},
		{"a program with NUL", program("/bin/\x00")},
		{"programs out of order", func(r *receipt.Receipt) { r.Steps[0].Programs[0].Path = "/z" }},
		{"unexpected outside", func(r *receipt.Receipt) { r.Steps[0].Unexpected = []string{"/etc/passwd"} }},
		{"missing outside", func(r *receipt.Receipt) { r.Steps[0].Missing = []string{"../x"} }},
		{"missing without a name", func(r *receipt.Receipt) { r.Steps[0].Missing = []string{""} }},
		{"missing programs out of order", func(r *receipt.Receipt) { r.Steps[0].MissingPrograms = []string{"b", "a"} }},
		{"unread twice", func(r *receipt.Receipt) { r.Steps[0].Unread = []string{"a", "a"} }},
		{"modified twice", func(r *receipt.Receipt) { r.Steps[0].Modified = []string{"a", "a"} }},
		{"another verdict", func(r *receipt.Receipt) { r.Steps[1].Reproduction.Verdict = "similar" }},
		{"identical with differences", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Verdict = receipt.Identical }},
		{"different without differences", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Differences = nil }},
		{"a difference without a cause", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Differences[0].Cause = "" }},
		{"a difference outside", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Differences[0].Path = "/x" }},
		{"an offset below 0", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Differences[0].Offset = -1 }},
		{"an offset that JSON would round", func(r *receipt.Receipt) { r.Steps[0].Reproduction.Differences[0].Offset = 1 << 53 }},
		{"a path in a folder that is there", func(r *receipt.Receipt) {
			in := file
			in.Path = "a/b"
			r.Steps[0].Inputs = []receipt.Path{{Path: "a/", Hash: file.Hash}, in}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := receipttest.Sample()
			tt.change(r)
			if data, err := receipt.Marshal(r); data != nil || !errors.Is(err, receipt.ErrInvalid) {
				t.Errorf("got %d bytes, %v", len(data), err)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		in   time.Duration
		want string
	}{
		{0, "0"}, {time.Millisecond, "0.001"}, {100 * time.Millisecond, "0.1"}, {45003 * time.Millisecond, "45.003"},
		{100 * time.Second, "100"}, {1499 * time.Microsecond, "0.001"}, {1<<63 - 1, "9223372036.854"},
	}
	for _, tt := range tests {
		r := receipttest.Sample()
		r.Duration = tt.in
		data, err := receipt.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if want := "\ntotal_duration_secs: " + tt.want + "\n"; !bytes.Contains(data, []byte(want)) {
			t.Errorf("%d ns: want %q in\n%s", tt.in, want, data[:200])
		}
		message, err := r.SignedBytes()
		if err != nil {
			t.Fatal(err)
		}
		if want := `"total_duration_secs":` + tt.want + "}"; !bytes.Contains(message, []byte(want)) {
			t.Errorf("%d ns: want %q in the signed bytes", tt.in, want)
		}
	}
}

func large(n int) *receipt.Receipt {
	r := receipttest.Sample()
	r.Steps[0].Inputs = nil
	for i := range n {
		name := fmt.Sprintf("src/some/folder/file-%06d.txt", i)
		r.Steps[0].Inputs = append(r.Steps[0].Inputs, receipt.Path{Path: name, Mode: "0644", Hash: digest.Of([]byte(name))})
	}
	return r
}

func BenchmarkParse20000(b *testing.B) {
	data, err := receipt.Marshal(large(20000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := receipt.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign20000(b *testing.B) {
	r := large(20000)
	b.ReportAllocs()
	for b.Loop() {
		if err := receipt.Sign(r, receipttest.Key(1)); err != nil {
			b.Fatal(err)
		}
	}
}
