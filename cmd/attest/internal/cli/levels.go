// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/cmd/internal/version"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/process"
	"github.com/attest-pipeline/attest/isolation/worker"
)

// levels are the ways to run a step that this program has. Making them costs
// nothing: the worker for container steps, and an engine, are started when the
// first step needs them.
type levels struct {
	worker  worker.Process
	process *process.Executor
	images  *image.Pinner
	// cacheDir is the folder of the project's cache, which no step reaches.
	cacheDir string
}

// newLevels returns the levels for the project in root.
func newLevels(env *Env, settings *config.Set, root string) (*levels, error) {
	cacheDir, err := cacheFolder(root, settings)
	if err != nil {
		return nil, err
	}
	stateDir, err := launch.DefaultStateDir(env.Environ)
	if err != nil {
		return nil, err
	}
	files, err := launch.FilesIn(stateDir)
	if err != nil {
		return nil, err
	}
	return &levels{
		cacheDir: cacheDir,
		worker: worker.Process{
			Find:    func() (string, error) { return findWorker(env) },
			Args:    []string{"run", "--project", root, "--engine", engineAddress(env, settings), "--vm-kernel", kernelPath(root, settings)},
			Environ: env.Environ, Stderr: env.Stderr,
		},
		process: process.New(process.Options{
			Environ: env.Environ, Hide: []string{files.StateDir, files.SocketDir, cacheDir}, Init: findInit(),
		}),
		images: image.NewPinner(image.PinnerOptions{
			BaseDir: root, Dir: filepath.Join(root, stateDir, "images"),
			Warn: func(text string) { env.note("warning: %s", display.Message(text)) },
		}),
	}, nil
}

func (l *levels) executors() map[pipeline.Isolation]executor.Executor {
	return map[pipeline.Isolation]executor.Executor{
		pipeline.Container: &worker.Client{Version: version.Version, Level: pipeline.Container, Dial: l.dial},
		pipeline.VM:        &worker.Client{Version: version.Version, Level: pipeline.VM, Dial: l.dial},
		pipeline.Process:   l.process,
	}
}

func (l *levels) dial(ctx context.Context, progress func(executor.Progress)) (io.ReadWriteCloser, error) {
	return l.worker.Dial(ctx, progress)
}

// end begins to end what was started because a step needed it, and returns what
// waits for that. What a connection has to say no longer matters.
func (l *levels) end() (wait func()) {
	var ending sync.WaitGroup
	ending.Go(func() { _ = l.worker.Close() })
	ending.Go(func() { _ = l.process.Close() })
	return ending.Wait
}

// findWorker finds the program that links BuildKit.
func findWorker(env *Env) (string, error) {
	return worker.FindProgram(env.Environ, "attest-worker", "ATTEST_WORKER")
}

// findTool finds a program of the user's on the PATH, empty where there is none.
func findTool(env *Env, name string) string {
	for _, dir := range filepath.SplitList(env.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); filepath.IsAbs(path) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// findInit finds the program that looks after process steps beside this one, and
// nowhere else: it must be of the same build. Without it attest does that
// itself, which takes longer.
func findInit() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	program := filepath.Join(filepath.Dir(self), "attest-init")
	if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return ""
	}
	return program
}

// printLLB has the worker print what container steps tell BuildKit.
func printLLB(ctx context.Context, env *Env, file string, steps []string) error {
	program, err := findWorker(env)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"llb", "--pipeline", file, "--"}, steps...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env.Environ, env.Stdout, env.Stderr
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case err == nil:
		return nil
	case errors.As(err, &exit): // it has said why on stderr
		return fmt.Errorf("printing LLB: %w", err)
	default:
		return fmt.Errorf("%w: starting the worker: %w", executor.ErrUnavailable, err)
	}
}

// kernelPath is the path of the kernel of virtual machines; empty for the
// distribution's.
func kernelPath(root string, settings *config.Set) string {
	switch path := settings.Get(config.VMKernel).Value; {
	case path == "auto":
		return ""
	case filepath.IsAbs(path):
		return path
	default:
		return filepath.Join(root, path)
	}
}

// engineAddress says which BuildKit is meant: the setting, or where nobody set
// it, BUILDKIT_HOST; empty for the embedded one.
func engineAddress(env *Env, settings *config.Set) string {
	if v := settings.Get(config.Engine); v.Source != config.FromDefault {
		return v.Value
	}
	return env.Getenv("BUILDKIT_HOST")
}
