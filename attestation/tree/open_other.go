// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tree

import "os"

func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	return regular(root, name, f)
}
