// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/attest-pipeline/attest/isolation/diskspace"
	"github.com/attest-pipeline/attest/isolation/sockets"
)

const (
	killRetry  = 10 * time.Millisecond
	runtimeEnd = time.Second // for the runtime itself, once its container was killed
)

// Exit codes by which a shell says that a command could not be started.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// container is one container, run once by an OCI runtime.
type container struct {
	runtime string
	bundle  bundle // with config.json, and what the runtime writes
	// confined says that it has no network, or a recorded one, and no sockets that
	// reach beyond it.
	confined bool
}

// write writes the runtime's input.
func (c container) write(spec *specs.Spec) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encoding the container's description: %w", err)
	}
	return os.WriteFile(c.path("config.json"), text, 0o600)
}

func (c container) path(name string) string { return filepath.Join(c.bundle.dir, name) }

// command is a call of the runtime.
func (c container) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.runtime, append([]string{"--log", c.path("log.json"), "--log-format", "json"}, args...)...)
	// What the engine is told about proxies and certificates is its own.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs the container until its process ends, or ctx does, when everything
// in the container is killed. It leaves nothing behind either way.
func (c container) run(ctx context.Context, st step) error {
	cmd := c.command("run", "--bundle", c.bundle.dir, "--pid-file", c.path("pid"), c.bundle.id)
	cmd.Stdout, cmd.Stderr = st.process.Stdout, st.process.Stderr
	if err := c.start(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", c.runtime, err)
	}
	st.begun()
	ended, killed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-ctx.Done():
			c.kill(cmd.Process, ended)
		case <-ended:
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-killed
	return c.outcome(ctx, err, st.process.Meta.ValidExitCodes)
}

// start starts the runtime, and with it the container, under what confines it: a
// container's own filter is one for all architectures, and libseccomp lets
// socketcall(2) of 32-bit programs make every socket where socket(2) makes some.
func (c container) start(cmd *exec.Cmd) error {
	if !c.confined {
		return cmd.Start()
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		err := sockets.Confine()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	return <-started
}

// kill kills everything in the container, and makes sure that the runtime
// notices.
func (c container) kill(runtime *os.Process, ended <-chan struct{}) {
	deadline := time.After(runtimeEnd)
	tick := time.NewTicker(killRetry)
	defer tick.Stop()
	for {
		// The first process takes all others of its namespace with it.
		if pid := c.pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ended:
			return
		case <-deadline:
			_ = runtime.Kill()
			_ = c.command("delete", "--force", c.bundle.id).Run()
			return
		case <-tick.C: // the container may not have been made yet
		}
	}
}

// pid is the container's first process, as the engine counts; 0 before there
// is one. The number stays taken until the runtime, which runs, waits for it.
func (c container) pid() int {
	text, err := os.ReadFile(c.path("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// outcome turns the runtime's end into what BuildKit expects.
func (c container) outcome(ctx context.Context, err error, valid []int) error {
	var full *diskspace.FullError
	if cause := context.Cause(ctx); errors.As(cause, &full) {
		return full
	} else if cause != nil {
		return &gatewayapi.ExitError{ExitCode: gatewayapi.UnknownExitStatus, Err: cause}
	}
	code := 0
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return fmt.Errorf("running %s: %w", c.runtime, err)
		}
		code = exitCode(exit)
		if c.pid() == 0 { // there never was a process
			code, err = c.notStarted()
			if code == 0 {
				return err
			}
		}
	}
	if code == 0 && len(valid) == 0 || slices.Contains(valid, code) {
		return nil
	}
	return &gatewayapi.ExitError{ExitCode: uint32(code)}
}

func exitCode(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

// notStarted tells a command that cannot be started, which is the step's
// fault and has an exit code as in a shell, from a container that cannot be
// made, which is an error.
func (c container) notStarted() (code int, err error) {
	message := c.lastError()
	switch {
	case strings.Contains(message, "executable file not found"), strings.Contains(message, "no such file or directory") && strings.Contains(message, "exec"):
		return exitNotFound, nil
	case strings.Contains(message, "exec") && (strings.Contains(message, "permission denied") || strings.Contains(message, "exec format error")):
		return exitCannotRun, nil
	}
	return 0, fmt.Errorf("making the container: %s", message)
}

// lastError is the last error in the runtime's log.
func (c container) lastError() string {
	last := "the runtime does not say why"
	f, err := os.Open(c.path("log.json"))
	if err != nil {
		return last
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct{ Level, Msg string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Level == "error" {
			last = line.Msg
		}
	}
	return last
}
