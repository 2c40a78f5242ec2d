// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package pipeline

const nonBlocking = 0
