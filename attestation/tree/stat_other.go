// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tree

import "io/fs"

func statOf(fs.FileInfo) Stat { return Stat{} }
