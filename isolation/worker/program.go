// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// FindProgram finds another of attest's own programs: where the variable says,
// beside the program that runs, or on the PATH; variable and PATH are those of
// environ. There being none is an error that matches [executor.ErrUnavailable]
// and says what to do.
func FindProgram(environ []string, name, variable string) (string, error) {
	if path := lookup(environ, variable); path != "" {
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), name); executable(beside) {
			return beside, nil
		}
	}
	for _, dir := range filepath.SplitList(lookup(environ, "PATH")) {
		// A relative folder would mean whatever stands where we happen to be.
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(path) {
			return path, nil
		}
	}
	return "", &executor.HintedError{
		Err:   fmt.Errorf("%w: %s is neither beside attest nor on PATH", executor.ErrUnavailable, name),
		Hints: []string{fmt.Sprintf("install it beside attest, or name it: %s=/path/to/%s", variable, name)},
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// lookup is os.Getenv for another environment; the last one counts.
func lookup(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}
