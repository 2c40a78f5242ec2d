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
	// The first signal asks, the second one ends the program. Nothing is stopped
	// at the end: the program is over, and to take back each signal would cost a
	// turn of the thread that they come to.
	context.AfterFunc(ctx, stop)
	return cli.Main(untilUnread(ctx), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
