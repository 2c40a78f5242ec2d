// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// process compares a whole attest run of one process step with the same command
// run by the same shell alone.
func (b *bench) process(ctx context.Context) error {
	project, done, err := b.folder("process")
	defer done()
	if err != nil {
		return err
	}
	if err := writeTexts(project, map[string]string{"attest.yaml": `version: "0.1"
name: bench
steps:
  step: {run: 'true', inputs: [attest.yaml]}
`}); err != nil {
		return err
	}
	whole := b.running(ctx, "attest run --no-cache, from start to receipt", project, b.attest, "run", "--no-cache", "--progress", "quiet")
	bare := b.running(ctx, "sh -e -c true", project, "/bin/sh", "-e", "-c", "true")
	if err := takeTurns(b.rounds, whole, bare); err != nil {
		return err
	}
	table("One process step", whole, bare)
	b.below("a process step, beyond its command", (whole.median()-bare.median()).Seconds()*1e3, 25, "ms")
	return nil
}
