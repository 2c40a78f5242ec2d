// SPDX-License-Identifier: Apache-2.0

// Package diskspace ends a step before it has filled the disk.
//
// No quota holds a step to an amount of disk on every file system. [Guard] looks,
// while a step runs, at what the file system that its files lie on has left, and
// ends the step before that is nothing: others on this machine, attest among
// them, need some.
package diskspace
