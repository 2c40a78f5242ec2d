// SPDX-License-Identifier: Apache-2.0

package buildkitdtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/vm"
)

// Machines returns where the parts of virtual machines are: the engine of
// [Start] can make them. A test that uses it is skipped where parts are
// missing, as [Require] says. The kernel is the one that make setup has
// unpacked, unless ATTEST_VM_KERNEL names another.
func Machines(t testing.TB) vm.Options {
	t.Helper()
	Require(t)
	o := vm.Options{
		Environ: os.Environ(), Kernel: os.Getenv("ATTEST_VM_KERNEL"),
		Guest: filepath.Join(filepath.Dir(Binary(t)), "attest-guest"),
	}
	if o.Kernel == "" {
		o.Kernel = unpackedKernel(t)
	}
	if _, err := vm.Find(o); err != nil {
		if os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" {
			t.Fatalf("ATTEST_REQUIRE_BUILDKIT is set: %v", err)
		}
		t.Skip(err)
	}
	return o
}

// unpackedKernel is the kernel below build/, empty if there is none.
func unpackedKernel(t testing.TB) string {
	t.Helper()
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("finding the module: %v", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	found, err := filepath.Glob(filepath.Join(root, "build/kernel/boot/vmlinuz-*"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}
