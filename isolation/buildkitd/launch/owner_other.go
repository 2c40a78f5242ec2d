// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package launch

import (
	"errors"
	"os"
)

// There is no engine on such a system, so that nobody has a folder or a lock of it.

func ownFolder(string) error { return errors.ErrUnsupported }

func flock(*os.File, bool) error { return errors.ErrUnsupported }
