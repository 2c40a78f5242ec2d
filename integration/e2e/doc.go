// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the programs as users run them: attest and its embedded
// engine, built from this tree, on real pipelines and a real registry.
//
// Start with testdata/script: each file there is a project, the commands a user
// types in it, and what must come of them. What a script cannot say (signals,
// memory, races) is Go, in the test files. The package has no code of its own.
package e2e
