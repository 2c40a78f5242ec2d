// SPDX-License-Identifier: Apache-2.0

// Package version says which attest this is, for all of its programs.
package version

// Version is what receipts, --version and the programs' talk with each other
// say.
const Version = "0.1.0"
