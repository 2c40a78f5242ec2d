// SPDX-License-Identifier: Apache-2.0

// Package pressure ends steps that fill their memory and get nowhere.
//
// The kernel kills a process of a control group whose memory is full only when it
// finds nothing to take away any more. Pages of programs it can always take away;
// they are read again at once. So a step whose memory is nearly full may go on for
// ever without getting anywhere, and with it the disk. [Watch] kills the largest
// process of such a step.
package pressure
