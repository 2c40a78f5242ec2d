// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/keys"
)

func newStore(t *testing.T) keys.Store {
	return keys.Store{Dir: filepath.Join(t.TempDir(), "project", ".attest", "keys")}
}

func TestStoreEnsure(t *testing.T) {
	old := syscall.Umask(0) // modes must not depend on it
	defer syscall.Umask(old)
	s := newStore(t)
	if _, err := s.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	key, created, err := s.Ensure()
	if err != nil || !created {
		t.Fatalf("got %v, %v", created, err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700 | fs.ModeDir, "private.key": 0o600, "public.key": 0o644} {
		info, err := os.Stat(filepath.Join(s.Dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%q: mode %v, %v", name, info.Mode(), err)
		}
	}
	again, created, err := s.Ensure()
	if err != nil || created || again.Public() != key.Public() {
		t.Errorf("second time: created %v, %v", created, err)
	}
	if public, err := s.Public(); err != nil || public != key.Public() {
		t.Errorf("public key: %v, %v", public, err)
	}
	if files, err := os.ReadDir(s.Dir); err != nil || len(files) != 2 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestStoreWritesPublicAnew(t *testing.T) {
	s := newStore(t)
	key, _, err := s.Ensure()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, keys.PublicFile)); err != nil {
		t.Fatal(err)
	}
	if _, created, err := s.Ensure(); err != nil || created {
		t.Fatalf("got %v, %v", created, err)
	}
	if public, err := s.Public(); err != nil || public != key.Public() {
		t.Errorf("got %v, %v", public, err)
	}
}

func TestStoreRefusesAnothersPublicKey(t *testing.T) {
	s := newStore(t)
	if _, _, err := s.Ensure(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Dir, keys.PublicFile), keyOf(t, 9).Public().PEM())
	if _, _, err := s.Ensure(); !errors.Is(err, keys.ErrKey) {
		t.Errorf("got %v", err)
	}
}

func TestStoreGenerateAndReplace(t *testing.T) {
	s := newStore(t)
	first, err := s.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Generate(); !errors.Is(err, keys.ErrExists) {
		t.Errorf("a second Generate: %v", err)
	}
	if got, err := s.Load(); err != nil || got.Public() != first.Public() {
		t.Errorf("it was overwritten: %v, %v", got.Public(), err)
	}
	second, err := s.Replace()
	if err != nil || second.Public() == first.Public() {
		t.Fatalf("Replace: %v", err)
	}
	if got, created, err := s.Ensure(); err != nil || created || got.Public() != second.Public() {
		t.Errorf("after Replace: %v, %v", created, err)
	}
}

func TestStoreManyAtOnce(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	got := make([]keys.Public, 16)
	for i := range got {
		wg.Go(func() {
			key, _, err := s.Ensure()
			if err != nil {
				t.Error(err)
			}
			got[i] = key.Public()
		})
	}
	wg.Wait()
	for _, key := range got {
		if key != got[0] {
			t.Fatalf("two keys: %v and %v", key, got[0])
		}
	}
}

func TestStoreRefusesFoldersOfOthers(t *testing.T) {
	s := newStore(t)
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Ensure(); !errors.Is(err, keys.ErrKey) {
		t.Errorf("got %v", err)
	}
	linked := keys.Store{Dir: filepath.Join(t.TempDir(), "keys")}
	if err := os.Symlink(t.TempDir(), linked.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := linked.Generate(); !errors.Is(err, keys.ErrKey) {
		t.Errorf("a symbolic link as folder: %v", err)
	}
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrivateRefuses(t *testing.T) {
	s := newStore(t)
	if _, err := s.Generate(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir, keys.PrivateFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(path, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, says string }{
		{"a symbolic link", link, "symbolic link"},
		{"a FIFO", fifo, "no regular file"},
		{"a folder", dir, "no regular file"},
		{"a public key", filepath.Join(s.Dir, keys.PublicFile), "others"},
		{"a public key, well kept", write(t, filepath.Join(dir, "public"), keyOf(t, 1).Public().PEM()[84:]), "public key"},
		{"nothing", write(t, filepath.Join(dir, "empty"), nil), "no PEM"},
		{"another type", write(t, filepath.Join(dir, "ec"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "Ed25519"},
		{"an encrypted key", write(t, filepath.Join(dir, "enc"), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})), "unencrypted"},
		{"rubbish in PEM", write(t, filepath.Join(dir, "rubbish"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})), "PKCS#8"},
		{"two keys", write(t, filepath.Join(dir, "two"), append(bytes.Clone(good), good...)), "several"},
		{"text below", write(t, filepath.Join(dir, "below"), append(bytes.Clone(good), 'x')), "below"},
		{"text above", write(t, filepath.Join(dir, "above"), append([]byte("x\n"), good...)), "above"},
		{"too much", write(t, filepath.Join(dir, "much"), make([]byte, 1<<20)), "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := keys.LoadPrivate(tt.path)
			if !errors.Is(err, keys.ErrKey) || !strings.Contains(err.Error(), tt.says) || !key.Public().IsZero() {
				t.Errorf("got %v; want it to say %q", err, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%v shows what is in the file", err)
			}
		})
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.LoadPrivate(path); !errors.Is(err, keys.ErrKey) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadPrivate(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestLoadPublicRefuses(t *testing.T) {
	s := newStore(t)
	if _, err := s.Generate(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	good, other := keyOf(t, 1).Public().PEM(), keyOf(t, 2).Public().PEM()
	block := good[bytes.Index(good, []byte("-----")):]
	decoded, _ := pem.Decode(block)
	weak := bytes.Clone(decoded.Bytes)
	copy(weak[len(weak)-32:], make([]byte, 32))
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	asPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	tests := []struct {
		name string
		data []byte
		says string
	}{
		{"text that names another key", append(bytes.Clone(other[:84]), block...), "another key"},
		{"two keys", append(bytes.Clone(good), other...), "several"},
		{"text below", append(bytes.Clone(good), "x"...), "below"},
		{"a small-order key", asPEM("PUBLIC KEY", weak), "small order"},
		{"bytes after the key", asPEM("PUBLIC KEY", append(bytes.Clone(decoded.Bytes), 0)), "SubjectPublicKeyInfo"},
		{"a certificate", asPEM("CERTIFICATE", decoded.Bytes), "CERTIFICATE"},
		{"headers", bytes.Replace(block, []byte("KEY-----\n"), []byte("KEY-----\nA: b\n\n"), 1), "damaged"},
		{"re-wrapped lines", bytes.Replace(block, []byte("MCow"), []byte("MC\now"), 1), "damaged"},
		{"a damaged block before a good one", append([]byte("-----BEGIN PUBLIC KEY-----\nx\n"), good...), ""},
		{"nothing", nil, "no PEM"},
		{"the key's text alone", []byte(keyOf(t, 1).Public().String()), "no PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := keys.LoadPublic(write(t, filepath.Join(dir, "key"), tt.data))
			if !errors.Is(err, keys.ErrKey) || !strings.Contains(err.Error(), tt.says) || !key.IsZero() {
				t.Errorf("got %v, %v; want it to say %q", key, err, tt.says)
			}
		})
	}
	_, err := keys.LoadPublic(filepath.Join(s.Dir, keys.PrivateFile))
	if !errors.Is(err, keys.ErrKey) || !strings.Contains(err.Error(), "this is a private key") {
		t.Errorf("a private key: %v", err)
	}
	done := make(chan error, 1)
	go func() { _, err := keys.LoadPublic(fifo); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, keys.ErrKey) {
			t.Errorf("a FIFO: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for a FIFO")
	}
	if key, err := keys.LoadPublic(write(t, filepath.Join(dir, "key"), block)); err != nil || key != keyOf(t, 1).Public() {
		t.Errorf("without the text line: %v, %v", key, err)
	}
}

// What openssl and ssh-keygen think of our files and names.
func TestOtherTools(t *testing.T) {
	s := newStore(t)
	key, err := s.Generate()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("openssl", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), need(t, "openssl"), "pkey", "-in", filepath.Join(s.Dir, keys.PrivateFile), "-pubout").Output()
		if err != nil || !bytes.HasSuffix(key.Public().PEM(), out) {
			t.Errorf("openssl derives %s, %v", out, err)
		}
		path := filepath.Join(t.TempDir(), "new")
		if out, err := exec.CommandContext(t.Context(), need(t, "openssl"), "genpkey", "-algorithm", "ed25519", "-out", path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.LoadPrivate(path); err != nil {
			t.Errorf("a key made by openssl: %v", err)
		}
	})
	t.Run("ssh-keygen", func(t *testing.T) {
		tool, err := exec.LookPath("ssh-keygen")
		if err != nil {
			if os.Getenv("ATTEST_REQUIRE_TOOLS") != "" {
				t.Fatal("no ssh-keygen, and ATTEST_REQUIRE_TOOLS is set")
			}
			t.Skip("no ssh-keygen on PATH; TestFingerprint has a known answer")
		}
		raw := unhex(t, strings.TrimPrefix(key.Public().String(), "ed25519:"))
		wire := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), raw...)
		path := write(t, filepath.Join(t.TempDir(), "id.pub"), []byte("ssh-ed25519 "+base64.StdEncoding.EncodeToString(wire)+"\n"))
		out, err := exec.CommandContext(t.Context(), tool, "-l", "-E", "sha256", "-f", path).Output()
		if err != nil || !strings.Contains(string(out), " "+key.Public().Fingerprint()+" ") {
			t.Errorf("ssh-keygen says %s, %v; want %s", out, err, key.Public().Fingerprint())
		}
	})
}

// The known answer is what ssh-keygen -l prints for this key.
func TestFingerprint(t *testing.T) {
	const want = "SHA256:fe85JkIjo8VPe+XqXJGH5Mau1EMFdK1OdKvJUFicyA8"
	if got := keyOf(t, 1).Public().Fingerprint(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("ATTEST_REQUIRE_TOOLS") != "" {
			t.Fatalf("no %s, and ATTEST_REQUIRE_TOOLS is set", tool)
		}
		t.Skipf("no %s on PATH", tool)
	}
	return path
}
