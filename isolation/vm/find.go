// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// Programs that a machine is made with.
const (
	qemuProgram  = "qemu-system-x86_64"
	fsProgram    = "virtiofsd"
	guestProgram = "attest-guest"
)

// Parts are what the host has for making machines, by absolute paths.
type Parts struct {
	QEMU      string
	Virtiofsd string
	Guest     string // attest-guest
	Kernel    Kernel
}

// Options say where to look.
type Options struct {
	Environ []string // where PATH names programs; nil means none
	// Kernel is the path of the kernel; empty looks for the distribution's.
	Kernel string
	// Guest is the path of attest-guest; empty means beside this program, else
	// on PATH.
	Guest string
}

// Find looks for all that a machine needs. What is missing is one error that
// matches [executor.ErrUnavailable] and names the packages to install.
func Find(o Options) (Parts, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return Parts{}, unavailable(fmt.Errorf("steps in virtual machines need Linux on x86-64, and this is %s/%s",
			runtime.GOOS, runtime.GOARCH))
	}
	var p Parts
	var missing, packages []string
	lack := func(what, debian string) {
		missing = append(missing, what)
		if debian != "" && !slices.Contains(packages, debian) {
			packages = append(packages, debian)
		}
	}
	// Some distributions have virtiofsd where only qemu is meant to look, and
	// until Debian 12 it came with qemu.
	if p.QEMU = look(o.Environ, qemuProgram); p.QEMU == "" {
		lack(qemuProgram, "qemu-system-x86")
	}
	if p.Virtiofsd = look(o.Environ, fsProgram, "/usr/libexec", "/usr/lib/qemu", "/usr/lib"); p.Virtiofsd == "" {
		lack(fsProgram, virtiofsdPackage())
	}
	var err error
	if p.Kernel, err = findKernel(o.Kernel); errors.Is(err, errNoKernel) {
		lack("a Linux kernel with its modules", "linux-image-cloud-amd64")
	} else if err != nil {
		return Parts{}, unavailable(err, "name another kernel: attest config set vm.kernel /path/to/vmlinuz")
	}
	if p.Guest = findGuest(o); p.Guest == "" {
		lack(guestProgram, "")
	}
	if len(missing) == 0 {
		return p, nil
	}
	return Parts{}, unavailable(fmt.Errorf("steps in virtual machines need what is not here: %s", strings.Join(missing, ", ")),
		lackHints(missing, packages)...)
}

func lackHints(missing, packages []string) []string {
	var hints []string
	if len(packages) > 0 {
		hints = append(hints, "apt install "+strings.Join(packages, " ")+"        (Debian, Ubuntu)")
	}
	if slices.Contains(packages, "linux-image-cloud-amd64") {
		hints = append(hints, "or name an unpacked kernel: attest config set vm.kernel /path/to/boot/vmlinuz-...")
	}
	if slices.Contains(missing, guestProgram) {
		hints = append(hints, guestProgram+" is a program of attest's: put it beside attest-buildkitd")
	}
	return hints
}

// virtiofsdPackage is the package of Debian that has virtiofsd.
func virtiofsdPackage() string {
	version, err := os.ReadFile("/etc/debian_version")
	if err == nil && strings.HasPrefix(string(version), "12") {
		return "qemu-system-x86"
	}
	return "virtiofsd"
}

func findGuest(o Options) string {
	if o.Guest != "" {
		return o.Guest
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), guestProgram)
		if isProgram(beside) {
			return beside
		}
	}
	return look(o.Environ, guestProgram)
}

// look finds a program on the PATH of environ, then in other folders; empty
// means that there is none.
func look(environ []string, name string, others ...string) string {
	list := ""
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			list = value
		}
	}
	for _, dir := range append(filepath.SplitList(list), others...) {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(dir) && isProgram(path) {
			return path
		}
	}
	return ""
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func unavailable(err error, hints ...string) error {
	return &executor.HintedError{Err: fmt.Errorf("%w: %w", executor.ErrUnavailable, err), Hints: hints}
}
