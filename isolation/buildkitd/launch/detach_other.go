// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package launch

import (
	"errors"
	"os/exec"
)

var errLinux = errors.New("the embedded engine runs on Linux only")

func detach(*exec.Cmd) error { return errLinux }

// Identify is the text by which a lock file names the calling process.
func Identify(int) (string, error) { return "", errLinux }

func (Files) kill() error { return errLinux }
