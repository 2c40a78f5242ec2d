// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package engine

import (
	"errors"
	"os"
)

// tryLock is not to be had here, and without it two runs could mix.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
