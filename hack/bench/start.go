// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// start compares programs that do nothing but start.
func (b *bench) start(ctx context.Context) error {
	all := []*series{
		b.running(ctx, "attest --version", "", b.attest, "--version"),
		b.running(ctx, "attest --help", "", b.attest, "--help"),
	}
	if executable(b.buildctl) {
		all = append(all, b.running(ctx, "buildctl --version", "", b.buildctl, "--version"))
	}
	if err := takeTurns(b.rounds, all...); err != nil {
		return err
	}
	table("Starting", all...)
	return nil
}
