// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cli

// writable says what keeps this program from making files in a folder: here it is not known.
func writable(string) error { return nil }
