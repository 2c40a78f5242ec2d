// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

// need returns the path of a program that Debian has.
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

var failedLine = regexp.MustCompile(`(?m)^FAILED ([a-z]+):`)

// second runs the second implementation and returns the checks that failed.
func second(t *testing.T, root, receipt string) (failed, output string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "public.key")
	if err := os.WriteFile(key, receipttest.Key(1).Public().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), need(t, "python3"), filepath.Join("..", "..", "hack", "interop", "verify_receipt.py"),
		"--root", root, "--key", key, receipt)
	out, err := cmd.CombinedOutput()
	var names []string
	for _, m := range failedLine.FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	exit := (*exec.ExitError)(nil)
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 4) || (err == nil) != (len(names) == 0) {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Join(names, " "), string(out)
}

// The second implementation, written from FORMAT.md alone, judges every vector
// as this package does.
func TestSecondImplementation(t *testing.T) {
	need(t, "openssl")
	vectors, err := filepath.Glob(filepath.Join("testdata", "vectors", "*.txtar"))
	if err != nil || len(vectors) == 0 {
		t.Fatalf("no vectors (%v)", err)
	}
	for i, file := range vectors {
		if testing.Short() && i%8 != 0 {
			continue // starting two programs a hundred times takes a while
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, path := filepath.Join(dir, "project"), filepath.Join(dir, "receipt.yaml")
			data, notes := unpack(t, file, root)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, out := second(t, root, path); got != notes["expect"][0] {
				t.Errorf("failed checks: %q, want %q\n%s", got, notes["expect"][0], out)
			}
		})
	}
}

// It reads the receipt that uses every field as well, and finds its signature
// good, which takes the same canonical JSON.
func TestSecondImplementationReadsEveryField(t *testing.T) {
	need(t, "openssl")
	sample := filepath.Join("..", "receipt", "testdata", "receipt.yaml")
	if failed, out := second(t, t.TempDir(), sample); failed != "run pipeline files" { // one of its steps was not reproduced
		t.Errorf("failed checks: %q\n%s", failed, out)
	}
}

// Names that YAML, JSON and terminals would trip over, and a file of several
// BLAKE3 chunks.
func TestSecondImplementationStrangeNames(t *testing.T) {
	need(t, "openssl")
	s := newScene(t)
	for _, name := range []string{"a\nb", "-n", "tab\there", "quote\"'\\", "off", "ünïcode 文 😀", "null", " space ", "\u202ertl", "a-b", "a.b", "#x", "{y: z}"} {
		s.write("single/"+name, name)
		s.write("whole/"+name+"/"+name, name)
	}
	s.write("whole/invalid\xff\xfe", "")
	for _, size := range []int{1023, 1024, 1025, 2048, 2049, 3073, 5000, 8192, 8193} {
		s.write("whole/large/"+strings.Repeat("x", size%100+1), strings.Repeat("y", size))
	}
	s.write("single/unselected", "")
	names := []string{}
	entries, err := os.ReadDir(s.path("single"))
	s.do(err)
	for _, e := range entries {
		if e.Name() != "unselected" {
			names = append(names, "single/"+e.Name())
		}
	}
	receipttest.Record(t, s.dir, s.r, 0, append(names, "whole"), []string{"dist"})
	s.sign(receipttest.Key(1))
	path := filepath.Join(t.TempDir(), "receipt.yaml")
	s.do(os.WriteFile(path, s.data, 0o600))
	if failed, out := second(t, s.dir, path); failed != "" {
		t.Errorf("failed checks: %q\n%s\n%s", failed, out, s.data)
	}
	if !bytes.Contains(s.data, []byte(`{path: "whole/", `)) || !bytes.Contains(s.data, []byte(`"single/a\nb"`)) {
		t.Errorf("not the entries that this test is about:\n%s", s.data)
	}
}
