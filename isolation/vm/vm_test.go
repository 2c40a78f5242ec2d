// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/executor"
)

func TestSettings(t *testing.T) {
	for _, s := range []Settings{
		{},
		{Kernel: "/a b/\"vmlinuz\n", Memory: 1, CPUs: 2, PIDs: 3, FileSize: 4, Clock: 5},
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
	want := Facts{QEMU: "7.2", Accelerator: TCG, Kernel: "6.1"}
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

// TestTail: what a kernel prints is bounded, and harmless on a terminal.
func TestTail(t *testing.T) {
	log := newTail()
	for range 10_000 {
		_, _ = log.Write([]byte("[    0.000000] something \x1b[31mred\x00\r\n"))
	}
	_, _ = log.Write([]byte("\nlast\xff line"))
	if n := len(log.all()); n > 2*tailSize {
		t.Errorf("%d bytes are kept", n)
	}
	want := []string{"[    0.000000] something [31mred", "last line"}
	if got := log.lines(2); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
