// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the rules of the architecture as tests: which package
// may import which, what every file and every export must have, and that the
// documents name what exists.
//
// Start with the tables at the top of imports_test.go. The package has no code
// of its own.
package archtest
