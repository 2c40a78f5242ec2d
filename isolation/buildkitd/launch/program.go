// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/isolation/executor"
)

const program = "attest-buildkitd"

// Runtimes are the OCI runtimes that the engine can use, in order of preference.
func Runtimes() []string { return []string{"runc", "crun"} }

// FindRuntime finds an OCI runtime on the PATH of environ. There being none is
// an error that matches [executor.ErrUnavailable] and says how to get one.
func FindRuntime(environ []string) (string, error) {
	for _, name := range Runtimes() {
		if path, err := look(environ, name); err == nil {
			return path, nil
		}
	}
	hints := []string{
		"apt install runc        (Debian, Ubuntu)",
		"dnf install crun        (Fedora, RHEL)",
		"apk add runc            (Alpine)",
		"or use another BuildKit: --engine ADDRESS",
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := look([]string{"PATH=" + dir}, Runtimes()[0]); err == nil {
			hints = slices.Insert(hints, 0, fmt.Sprintf("there is %s: put %s on PATH", path, dir))
			break
		}
	}
	return "", unavailable(fmt.Errorf("steps in containers need %s, and neither is on PATH",
		strings.Join(Runtimes(), " or ")), hints...)
}

// CheckHost returns an error that matches [executor.ErrUnavailable] if the
// embedded engine cannot run on this host for this user.
func CheckHost(environ []string) error {
	if os.Geteuid() != 0 {
		return unavailable(fmt.Errorf("the embedded engine needs root, and this is uid %d", os.Geteuid()),
			"run attest as root",
			"or use a BuildKit that you may talk to: --engine ADDRESS")
	}
	_, err := FindRuntime(environ)
	return err
}

// program finds attest-buildkitd.
func (d Daemon) program() (string, error) {
	if d.Binary != "" {
		return d.Binary, nil
	}
	if path := Getenv(d.Environ, "ATTEST_BUILDKITD"); path != "" {
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), program)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := look(d.Environ, program)
	if err != nil {
		return "", &executor.HintedError{
			Err: fmt.Errorf("%w: %s is neither beside attest nor on PATH", executor.ErrUnavailable, program),
			Hints: []string{
				"install it beside attest, or name it: ATTEST_BUILDKITD=/path/to/" + program,
				"or use another BuildKit: --engine ADDRESS",
			},
		}
	}
	return path, nil
}

// look is exec.LookPath for the PATH of another environment.
func look(environ []string, name string) (string, error) {
	for _, dir := range filepath.SplitList(Getenv(environ, "PATH")) {
		if !filepath.IsAbs(dir) {
			continue // never from wherever we happen to be
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// BuildID is the identity of a program file, from its Go build ID: equal for
// copies of one build. It reads a few hundred bytes.
func BuildID(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	section := f.Section(".note.go.buildid")
	if section == nil || section.Size > 4096 {
		return "", fmt.Errorf("%s has no build ID", path)
	}
	note, err := section.Data()
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(note), nil
}
