// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
	"github.com/attest-pipeline/attest/attestation/verify"
)

var believed = []keys.Public{receipttest.Key(1).Public()}

func check(t testing.TB, data []byte, o verify.Options) (*verify.Proof, verify.Report, error) {
	t.Helper()
	v, err := verify.New(o)
	if err != nil {
		t.Fatal(err)
	}
	proof, report, err := v.Verify(t.Context(), data)
	if (proof == nil) == (err == nil) {
		t.Fatalf("proof %v with error %v", proof, err)
	}
	if len(report.Checks) != 5 {
		t.Fatalf("report has %d checks", len(report.Checks))
	}
	return proof, report, err
}

// failedChecks returns the names of the checks that failed, and what they say.
func failedChecks(r verify.Report) (names, said string) {
	var all, details []string
	for _, c := range r.Checks {
		if c.Status == verify.Failed {
			all = append(all, string(c.Name))
			details = append(details, c.Details()...)
		}
	}
	return strings.Join(all, " "), strings.Join(details, "\n")
}

func TestHonest(t *testing.T) {
	s := newScene(t)
	proof, report, err := check(t, s.data, verify.Options{Keys: believed, Root: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	for _, c := range report.Checks {
		messages = append(messages, string(c.Status)+" "+c.Message)
	}
	want := []string{
		"passed Receipt format valid", "passed Run succeeded", "passed Pipeline hash matches",
		"passed All file hashes verified", "passed Cryptographic signature valid",
	}
	if d := cmp.Diff(want, messages); d != "" {
		t.Error(d)
	}
	if key, ok := proof.Signer(); !ok || key != believed[0] {
		t.Errorf("signer: %v, %v", key, ok)
	}
	if proof.Digest() != digest.Of(s.data) || proof.Receipt().Pipeline.Name != "demo" {
		t.Error("the proof is about something else")
	}
}

func TestSkippedSignature(t *testing.T) {
	s := newScene(t)
	s.r.Signature, s.r.SignerPublicKey = "", ""
	s.marshal()
	proof, report, err := check(t, s.data, verify.Options{Root: s.dir, UnsafeSkipSignature: true})
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := proof.Signer(); ok || !key.IsZero() {
		t.Errorf("vouched for by %v", key)
	}
	if c := report.Checks[4]; c.Status != verify.Skipped || c.Message != "Signature verification skipped" {
		t.Errorf("got %+v", c)
	}
}

func TestNewWantsKeys(t *testing.T) {
	for _, o := range []verify.Options{{}, {Keys: []keys.Public{{}}}, {Root: "."}} {
		if v, err := verify.New(o); v != nil || !errors.Is(err, verify.ErrNoKeys) {
			t.Errorf("%+v: got %v, %v", o, v, err)
		}
	}
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("testdata", "vectors")
	names := map[string]bool{"honest.txtar": true}
	update := func(name, comment string, s *scene) {
		got := s.archive(comment)
		path := filepath.Join(dir, name)
		if os.Getenv("ATTEST_UPDATE") != "" {
			s.do(os.MkdirAll(dir, 0o755), os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		s.do(err)
		if !bytes.Equal(got, want) {
			s.Errorf("%s is not what its attack makes; refresh it with ATTEST_UPDATE=1:\n%s", path, cmp.Diff(string(want), string(got)))
		}
	}
	update("honest.txtar", "what: nothing is wrong\nexpect: \n", newScene(t))
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			s := newScene(t)
			a.do(s)
			update(a.name+".txtar", "what: "+a.what+"\nexpect: "+a.expect+"\nsays: "+a.says+"\n", s)
		})
		names[a.name+".txtar"] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !names[f.Name()] {
			t.Errorf("%s is nobody's vector", f.Name())
		}
		t.Run("vector/"+f.Name(), func(t *testing.T) {
			root := t.TempDir()
			data, notes := unpack(t, filepath.Join(dir, f.Name()), root)
			proof, report, err := check(t, data, verify.Options{Keys: believed, Root: root})
			failed, said := failedChecks(report)
			want := notes["expect"][0]
			if failed != want || (proof == nil) != (want != "") {
				t.Errorf("failed checks: %q, want %q: %v", failed, want, err)
			}
			if want != "" && !errors.Is(err, verify.ErrFailed) {
				t.Errorf("%v does not match ErrFailed", err)
			}
			for _, says := range notes["says"] {
				if !strings.Contains(said, says) {
					t.Errorf("want it to say %q:\n%s", says, said)
				}
			}
		})
	}
}

// No receipt with a changed byte passes.
func TestEveryByteCounts(t *testing.T) {
	s := newScene(t)
	v, err := verify.New(verify.Options{Keys: believed, Root: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.data {
		for _, mask := range []byte{0x01, 0x20} {
			damaged := bytes.Clone(s.data)
			damaged[i] ^= mask
			if proof, _, err := v.Verify(t.Context(), damaged); err == nil || proof != nil {
				t.Errorf("passes with byte %d (%q) xor %#02x", i, s.data[i], mask)
			}
		}
		cut := append(bytes.Clone(s.data[:i]), s.data[i+1:]...)
		if _, _, err := v.Verify(t.Context(), cut); err == nil {
			t.Errorf("passes without byte %d (%q)", i, s.data[i])
		}
	}
}

func TestSmallOrderKeyCannotBeBelieved(t *testing.T) {
	if key, err := keys.ParsePublic("ed25519:01" + strings.Repeat("00", 31)); err == nil {
		t.Errorf("there is a key %v under which everything is signed", key)
	}
}

func TestNewerSchemaCanBeTold(t *testing.T) {
	s := newScene(t)
	s.edit("receipt/v1", "receipt/v3")
	if _, _, err := check(t, s.data, verify.Options{Keys: believed, Root: s.dir}); !errors.Is(err, receipt.ErrNewer) {
		t.Errorf("got %v", err)
	}
}

func TestPipelinePath(t *testing.T) {
	s := newScene(t)
	s.do(os.Rename(s.path("attest.yaml"), s.path("elsewhere.yaml")))
	o := verify.Options{Keys: believed, Root: s.dir, Pipeline: s.path("elsewhere.yaml")}
	if _, _, err := check(t, s.data, o); err != nil {
		t.Error(err)
	}
}

func TestFilesThatNoStepNamesDoNotCount(t *testing.T) {
	s := newScene(t)
	s.write("notes.txt", "changed\n")
	s.write("new/file", "added\n")
	if _, _, err := check(t, s.data, verify.Options{Keys: believed, Root: s.dir}); err != nil {
		t.Error(err)
	}
}

func TestManyDifferences(t *testing.T) {
	s := newScene(t)
	for i := range 3000 {
		s.write(fmt.Sprintf("src/new/%04d\n\x1b[31m", i), "")
	}
	_, report, err := check(t, s.data, verify.Options{Keys: believed, Root: s.dir})
	c := report.Checks[3]
	if len(c.Differences) != 20 || c.More != 2980 {
		t.Errorf("lists %d differences and %d more", len(c.Differences), c.More)
	}
	if text := err.Error(); len(text) > 8000 || !strings.Contains(text, "and 2980 more") || strings.ContainsAny(text, "\n\x1b") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

func TestNoProject(t *testing.T) {
	s := newScene(t)
	_, report, err := check(t, s.data, verify.Options{Keys: believed, Root: filepath.Join(s.dir, "none")})
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, verify.ErrFailed) {
		t.Errorf("got %v", err)
	}
	if report.Checks[3].Status != verify.NotReached {
		t.Errorf("files: %v", report.Checks[3].Status)
	}
}

func TestCancelled(t *testing.T) {
	s := newScene(t)
	v, err := verify.New(verify.Options{Keys: believed, Root: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if proof, _, err := v.Verify(ctx, s.data); proof != nil || !errors.Is(err, cause) {
		t.Errorf("got %v, %v", proof, err)
	}
}

func BenchmarkVerify20000(b *testing.B) {
	s := newScene(b)
	for i := range 20000 {
		s.write(fmt.Sprintf("src/%02d/%05d.c", i%100, i), fmt.Sprint(i))
	}
	receipttest.Record(b, s.dir, s.r, 0, []string{"src"}, []string{"dist"})
	s.sign(receipttest.Key(1))
	for b.Loop() {
		if _, _, err := check(b, s.data, verify.Options{Keys: believed, Root: s.dir}); err != nil {
			b.Fatal(err)
		}
	}
}
