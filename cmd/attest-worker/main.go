// SPDX-License-Identifier: Apache-2.0

// Command attest-worker runs container steps for attest: it is where BuildKit's
// client is linked, so that attest itself starts without it. attest starts it
// when the first container step has to run; it ends with attest.
//
//	attest-worker run --project DIR [--engine ADDRESS] [--vm-kernel PATH]
//	                                                       jobs on descriptor 3
//	attest-worker llb --pipeline FILE [STEP...]            LLB as text on stdout
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/cmd/internal/version"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/vm"
	"github.com/attest-pipeline/attest/isolation/worker"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(collectAt)
	if err := command(ctx, os.Args[1:], os.Environ(), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "attest-worker: error: %v\n", err)
		return 1
	}
	return 0
}

func command(ctx context.Context, args, environ []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("attest starts this program, people do not")
	}
	flags := flag.NewFlagSet("attest-worker "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "run":
		project := flags.String("project", "", "the project's `folder`")
		kernel := flags.String("vm-kernel", "", "the `path` of the kernel of virtual machines (default: the distribution's)")
		engine := flags.String("engine", "", "the `address` of a BuildKit (default: the embedded one)")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return serve(ctx, *project, *engine, *kernel, environ)
	case "llb":
		file := flags.String("pipeline", "attest.yaml", "the pipeline's `file`")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return printLLB(ctx, stdout, *file, flags.Args())
	default:
		return fmt.Errorf("no such command: %q", args[0])
	}
}

// serve runs the jobs that attest sends until attest ends.
func serve(ctx context.Context, project, engine, kernel string, environ []string) error {
	listener, err := worker.Inherited()
	if err != nil {
		return err
	}
	stateDir, err := launch.DefaultStateDir(environ)
	if err != nil {
		return err
	}
	options := container.Options{
		Images:  image.NewResolver(project, ocispecs.Platform{}),
		KeyFile: filepath.Join(stateDir, "transfer.key"),
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{
				Address: engine, Environ: environ, Daemon: launch.Daemon{Environ: environ}, Progress: progress,
			})
		},
	}
	containers := container.New(options)
	defer containers.Close()
	options.Machines = &vm.Options{Environ: environ, Kernel: kernel}
	machines := container.New(options)
	defer machines.Close()
	var inMemory memory
	server := worker.Server{Version: version.Version, Executors: map[pipeline.Isolation]executor.Executor{
		pipeline.Container: bounded{containers, &inMemory},
		pipeline.VM:        bounded{machines, &inMemory},
	}}
	return server.Serve(ctx, listener)
}
