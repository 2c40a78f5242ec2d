// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/executor"
)

func TestSettings(t *testing.T) {
	for _, s := range []Settings{
		{},
		{Kernel: "/a b/\"vmlinuz\n", Memory: 1, CPUs: 2, PIDs: 3, FileSize: 4, Clock: 5, Seed: "6"},
	} {
		got, ok, err := ParseSettings(s.String())
		if err != nil || !ok || got != s {
			t.Errorf("%+v came back as %+v, %v, %v", s, got, ok, err)
		}
	}
	for _, text := range []string{"", "system.slice", "/attest-vm", "user.slice:attest-vm:"} {
		if _, ok, err := ParseSettings(text); ok || err != nil {
			t.Errorf("the cgroup %q is taken for a machine: %v", text, err)
		}
	}
	for _, text := range []string{
		"attest-vm:", "attest-vm:e", "attest-vm:!", "attest-vm:bm8", // "no"
		"attest-vm:eyJvdGhlciI6MX0",  // {"other":1}
		"attest-vm:eyJjcHVzIjotMX0",  // {"cpus":-1}
		"attest-vm:eyJjcHVzIjoiMSJ9", // {"cpus":"1"}
	} {
		if _, ok, err := ParseSettings(text); !ok || err == nil {
			t.Errorf("%q: %v, %v; it is for a machine, and wrong", text, ok, err)
		}
	}
}

func TestFacts(t *testing.T) {
	want := Facts{QEMU: "7.2", Accelerator: TCG, Kernel: "6.1", Seeded: true}
	if got, ok := ParseFacts(want.String()); !ok || got != want {
		t.Errorf("%+v came back as %+v, %v", want, got, ok)
	}
	for _, text := range []string{"", "extracting sha256:abc", "attest-vm", "attest-vm {}", "attest-vm no"} {
		if f, ok := ParseFacts(text); ok {
			t.Errorf("%q was taken for %+v", text, f)
		}
	}
}

// fakeKernel writes what has a kernel's header, and a folder of modules.
func fakeKernel(t *testing.T, root, version string) string {
	t.Helper()
	image := make([]byte, 0x1000)
	copy(image[bootMagicAt:], "HdrS")
	binary.LittleEndian.PutUint16(image[bootVersionAt:], 0x600)
	copy(image[0x800:], version+" (somebody@somewhere) #1\x00")
	path := filepath.Join(root, "boot", "vmlinuz-"+version)
	modules := filepath.Join(root, "lib/modules", version, "kernel")
	for _, dir := range []string{filepath.Dir(path), modules} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKernel(t *testing.T) {
	root := t.TempDir()
	path := fakeKernel(t, root, "6.1.0-56-cloud-amd64")
	k, err := findKernel(path)
	if err != nil || k.Version != "6.1.0-56-cloud-amd64" || k.Modules != filepath.Join(root, "lib/modules/6.1.0-56-cloud-amd64") {
		t.Errorf("got %+v, %v", k, err)
	}
	if err := os.RemoveAll(k.Modules); err != nil {
		t.Fatal(err)
	}
	if _, err := findKernel(path); err == nil || !strings.Contains(err.Error(), "lib/modules/6.1.0-56-cloud-amd64") {
		t.Errorf("without modules: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("no kernel", 1000)} {
		other := filepath.Join(root, name)
		if err := os.WriteFile(other, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := findKernel(other); err == nil || !strings.Contains(err.Error(), "no bzImage") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	want := []string{"5.10.0-9-amd64", "5.10.0-30-amd64", "6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.3-amd64"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestFindSaysWhatIsMissing: everything in one error, with the packages, and
// nothing of what is there.
func TestFindSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, qemuProgram)
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := fakeKernel(t, dir, "6.1.0")
	_, err := Find(Options{Environ: []string{"PATH=" + dir}, Kernel: kernel, Guest: ""})
	var hinted *executor.HintedError
	if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) {
		t.Fatalf("got %v", err)
	}
	all := err.Error() + "\n" + strings.Join(hinted.Hints, "\n")
	if !strings.Contains(err.Error(), guestProgram) || strings.Contains(all, qemuProgram+",") || strings.Contains(all, "linux-image") {
		t.Errorf("got %s", all)
	}
	_, err = Find(Options{Environ: []string{"PATH="}, Kernel: kernel, Guest: program})
	if err == nil || !strings.Contains(err.Error(), qemuProgram) || !errors.As(err, &hinted) ||
		!strings.Contains(hinted.Hints[0], "apt install qemu-system-x86") {
		t.Errorf("without qemu: %v, hints %q", err, hinted.Hints)
	}
	_, err = Find(Options{Environ: []string{"PATH=" + dir}, Kernel: filepath.Join(dir, "nowhere"), Guest: program})
	if !errors.Is(err, executor.ErrUnavailable) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("with a kernel that is not there: %v", err)
	}
}

// TestTranscript: what a kernel prints is bounded, its beginning and its end are
// kept, and both are harmless on a terminal.
func TestTranscript(t *testing.T) {
	line := "[    0.000000] something \x1b[31mred\x00\r\n"
	log := &transcript{}
	fmt.Fprintf(log, "first\x1b line\n")
	for range 4 * (headSize + tailSize) / len(line) {
		_, _ = io.WriteString(log, line)
	}
	_, _ = io.WriteString(log, "\nlast\xff line")
	var all bytes.Buffer
	if _, err := log.WriteTo(&all); err != nil {
		t.Fatal(err)
	}
	text := all.String()
	if n := len(text); n > headSize+2*tailSize {
		t.Errorf("%d bytes are kept", n)
	}
	if !strings.HasPrefix(text, "first line\n[    0") || !strings.HasSuffix(text, "\nlast line") ||
		!strings.Contains(text, "bytes are left out here") || strings.ContainsAny(text, "\x1b\x00\r") {
		t.Errorf("kept %.60q ... %q", text, text[len(text)-60:])
	}
	want := []string{"[    0.000000] something [31mred", "last line"}
	if got := log.lines(2); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_, _ = io.WriteString(log, "\n[ 1.0] Kernel panic - not syncing: why\nwhere\nregisters\n")
	want = []string{"[ 1.0] Kernel panic - not syncing: why", "where"}
	if got := log.lines(2); !slices.Equal(got, want) {
		t.Errorf("of a kernel that gave up: %q, want %q", got, want)
	}
	small := &transcript{}
	_, _ = io.WriteString(small, "a\nb\n")
	all.Reset()
	if _, err := small.WriteTo(&all); err != nil || all.String() != "a\nb\n" {
		t.Errorf("a small one came back as %q, %v", all.String(), err)
	}
}

// TestKeepLog: the logs of failed machines are whole, this user's alone, and few.
func TestKeepLog(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folder, "notes")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for i := range logsKept + 3 {
		serial, said := &transcript{}, &transcript{}
		fmt.Fprintf(serial, "kernel %d\n", i)
		fmt.Fprintf(said, "qemu %d\n", i)
		path, err := keepLog(folder, serial, said)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), fmt.Sprintf("kernel %d\n", i)) || !strings.Contains(string(text), fmt.Sprintf("qemu %d\n", i)) {
			t.Errorf("%s holds %q, %v", path, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		paths = append(paths, path)
		time.Sleep(2 * time.Millisecond) // which is what their names tell apart
	}
	for i, path := range append(paths, other) {
		if _, err := os.Stat(path); (err == nil) != (i >= 3) {
			t.Errorf("log %d of %d: %v", i, len(paths), err)
		}
	}
}
