// SPDX-License-Identifier: Apache-2.0

// Command attest runs the steps of an attest.yaml, records what happened in a
// signed receipt, and verifies such receipts.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/attest-pipeline/attest/cmd/attest/internal/cli"
	"github.com/attest-pipeline/attest/isolation/process"
)

func main() { os.Exit(run()) }

func run() int {
	if process.IsInit(os.Args) { // this is the first process of a step
		return process.Main()
	}
	collectLater()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The first signal asks, the second one ends the program.
	defer context.AfterFunc(ctx, stop)()
	ctx, release := untilUnread(ctx)
	defer release()
	return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
