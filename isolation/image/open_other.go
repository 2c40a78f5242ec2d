// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package image

import "os"

func openNonblocking(name string) (*os.File, error) { return os.Open(name) }
