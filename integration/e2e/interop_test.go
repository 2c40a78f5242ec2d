// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const interopPipeline = `version: "0.1"
name: interop
image: $IMAGE
attestation: {sign_all_steps: true}
steps:
  build:
    run: |
      mkdir -p dist/deep
      cat src/a.txt > dist/app
      chmod 755 dist/app
      echo b > dist/deep/b.txt
      ln -s app dist/link
    inputs: [src/]
    outputs: [dist/]
    env: {GREETING: "naïve 文 \"quoted\""}
  list:
    run: ls -R dist > list.txt
    needs: [build]
    inputs: []
    outputs: [list.txt]
`

// TestOpenSSL checks every envelope of a signed run with openssl and the public
// key's file, as somebody without attest would.
func TestOpenSSL(t *testing.T) {
	w := need(t)
	tool(t, "openssl")
	dir := w.project(t, interopPipeline)
	write(t, filepath.Join(dir, "src/a.txt"), "a\n")
	w.attest(t, dir, "run", "--sign").want(t, 0)
	envelopes, err := filepath.Glob(filepath.Join(dir, ".attest/attestations/*.dsse.json"))
	if err != nil || len(envelopes) < 3 {
		t.Fatalf("the run and its two steps left the envelopes %q (%v)", envelopes, err)
	}
	key := filepath.Join(dir, ".attest/keys/public.key")
	for _, name := range envelopes {
		var envelope struct {
			PayloadType string
			Payload     []byte // encoding/json decodes base64
			Signatures  []struct{ Sig []byte }
		}
		if err := json.Unmarshal([]byte(read(t, name)), &envelope); err != nil || len(envelope.Signatures) != 1 {
			t.Fatalf("%s: %d signatures (%v)", name, len(envelope.Signatures), err)
		}
		// DSSE 1.0: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
		pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(envelope.PayloadType), envelope.PayloadType, len(envelope.Payload), envelope.Payload)
		if !opensslVerifies(t, key, pae, envelope.Signatures[0].Sig) {
			t.Errorf("openssl does not verify %s", filepath.Base(name))
		}
		if opensslVerifies(t, key, pae+" ", envelope.Signatures[0].Sig) {
			t.Errorf("openssl verifies something else than %s", filepath.Base(name))
		}
	}
}

func opensslVerifies(t *testing.T, key, message string, signature []byte) bool {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "message"), message)
	write(t, filepath.Join(dir, "signature"), string(signature))
	return exec.CommandContext(t.Context(), "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key,
		"-sigfile", filepath.Join(dir, "signature"), "-in", filepath.Join(dir, "message")).Run() == nil
}

// TestIndependentVerifier has a second implementation, in another language and
// written from FORMAT.md alone, check a real run; and refuse it once a file has
// changed.
func TestIndependentVerifier(t *testing.T) {
	w := need(t)
	tool(t, "python3")
	dir := w.project(t, interopPipeline)
	write(t, filepath.Join(dir, "src/a.txt"), "a\n")
	w.attest(t, dir, "run", "--sign").want(t, 0)
	check := func() error {
		cmd := exec.CommandContext(t.Context(), "python3", filepath.Join(w.repo, "hack/interop/verify_receipt.py"),
			"--root", dir, "--key", filepath.Join(dir, ".attest/keys/public.key"), receipt(t, dir))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	if err := check(); err != nil {
		t.Fatalf("a receipt that nobody touched: %v", err)
	}
	app := filepath.Join(dir, "dist/app")
	for name, tamper := range map[string]func() error{
		"content": func() error { return os.WriteFile(app, []byte("b\n"), 0o755) },
		"mode":    func() error { return os.Chmod(app, 0o644) },
	} {
		if err := tamper(); err != nil {
			t.Fatal(err)
		}
		if check() == nil {
			t.Errorf("%s: the independent verifier did not see it", name)
		}
		if err := os.WriteFile(app, []byte("a\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(app, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(); err != nil {
		t.Errorf("put back: %v", err)
	}
	// The signature, too, is checked: one hex digit of it.
	path := receipt(t, dir)
	text := read(t, path)
	i := strings.Index(text, "signature: \"ed25519:") + len("signature: \"ed25519:")
	flipped := "0"
	if text[i] == '0' {
		flipped = "1"
	}
	if err := os.WriteFile(path, []byte(text[:i]+flipped+text[i+1:]), 0o644); err != nil {
		t.Fatal(err)
	}
	if check() == nil {
		t.Error("the independent verifier did not see a changed signature")
	}
}

// tool skips the test where a program is missing, unless ATTEST_REQUIRE_TOOLS
// is set.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("ATTEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("ATTEST_REQUIRE_TOOLS is set, and there is no %s", name)
	}
	t.Skipf("there is no %s", name)
}
