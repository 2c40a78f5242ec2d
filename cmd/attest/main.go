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
	// SIGPIPE among them: whoever reads our output and goes away ends a run as
	// Ctrl-C does, instead of leaving its steps behind.
	ctx, stop := signal.NotifyContext(context.Background(),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	// The first signal asks, a second one is not asked about.
	defer context.AfterFunc(ctx, stop)()
	return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
