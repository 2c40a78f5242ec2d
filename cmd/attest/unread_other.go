// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package main

import "context"

// untilUnread returns ctx: this system has no signal for a broken pipe.
func untilUnread(ctx context.Context) context.Context { return ctx }
