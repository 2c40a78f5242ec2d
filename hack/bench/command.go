// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// environ keeps what is measured apart from the user's own: settings, engine,
// and what would have a program talk to others.
func (b *bench) environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ATTEST_") && !strings.HasPrefix(v, "TURBO_") && !strings.HasPrefix(v, "MAKE") {
			env = append(env, v)
		}
	}
	return append(env,
		"ATTEST_STATE_DIR="+filepath.Join(b.dir, "state"), "XDG_CONFIG_HOME="+filepath.Join(b.dir, "config"), "NO_COLOR=1",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"TURBO_TELEMETRY_DISABLED=1", "TURBO_NO_UPDATE_NOTIFIER=1", "TURBO_GLOBAL_WARNING_DISABLED=1", "DO_NOT_TRACK=1")
}

// command returns a command to be run in dir.
func (b *bench) command(ctx context.Context, dir string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, b.environ()
	return cmd
}

// timed measures one command, from its start to its end. It must succeed.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	var output bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &output
	}
	cmd.Stderr = &output
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, &output)
	}
	return took, err
}

// running is a series of runs of one command.
func (b *bench) running(ctx context.Context, name, dir string, argv ...string) *series {
	return &series{name: name, measure: func() (time.Duration, error) { return timed(b.command(ctx, dir, argv...)) }}
}

// do runs a command that is not measured and returns what it printed.
func (b *bench) do(ctx context.Context, dir string, argv ...string) (string, error) {
	out, err := b.command(ctx, dir, argv...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return string(out), err
}
