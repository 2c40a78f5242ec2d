// SPDX-License-Identifier: Apache-2.0

// Package socketstest gives tests programs that say which sockets they can make.
package socketstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// What a line of a probe ends with.
const (
	Granted = "<nil>"
	Unknown = "address family not supported by protocol"
	Missing = "function not implemented"
)

// Program is the probe for one architecture whose programs this machine runs.
type Program struct {
	Arch string // as GOARCH has it
	Path string
	// Confined is what it prints where sockets are confined.
	Confined string
}

// Programs builds the probes, static ones. On 64-bit x86 there are two, of which the
// second makes its sockets by socketcall(2).
func Programs(t testing.TB) []Program {
	t.Helper()
	list := []Program{{
		Arch:     runtime.GOARCH,
		Confined: "vsock: " + Unknown + "\ninet: " + Granted + "\nio_uring: " + Missing + "\n",
	}}
	if runtime.GOARCH == "amd64" {
		list = append(list, Program{
			Arch:     "386",
			Confined: "vsock: " + Missing + "\ninet: " + Missing + "\nio_uring: " + Missing + "\n",
		})
	}
	dir := t.TempDir()
	for i, p := range list {
		list[i].Path = filepath.Join(dir, "probe-"+p.Arch)
		cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", list[i].Path,
			"github.com/attest-pipeline/attest/isolation/sockets/testdata/probe")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+p.Arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return list
}
