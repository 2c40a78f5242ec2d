// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package plan

const nonBlocking = 0
