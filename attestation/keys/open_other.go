// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package keys

// noFollow is not to be had. A private key is not read here in any case: files of
// such a system do not say that nobody else may use them.
const noFollow = 0
