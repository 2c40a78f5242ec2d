// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	maxLog  = 4 << 20 // a log longer than this is put aside at the next start
	tailLog = 2 << 10
)

// spawn starts the daemon and waits until it answers. The caller holds the
// start lock.
func (d Daemon) spawn(ctx context.Context, files Files) (Status, error) {
	program, err := d.program()
	if err != nil {
		return Status{}, err
	}
	log, offset, err := openLog(files.Log)
	if err != nil {
		return Status{}, unavailable(fmt.Errorf("opening the engine's log: %w", err))
	}
	defer log.Close()

	cmd := exec.Command(program, "--state-dir", files.StateDir, "--idle-timeout", d.IdleTimeout.String())
	cmd.Dir = "/"
	cmd.Env = daemonEnv(d.Environ)
	cmd.Stdout, cmd.Stderr = log, log
	if err := detach(cmd); err != nil {
		return Status{}, unavailable(err)
	}
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) {
		return Status{}, unavailable(fmt.Errorf("making namespaces for %s: %w", program, err),
			"root of a container may not do that unless the container is privileged",
			"or use another BuildKit: --engine ADDRESS")
	} else if err != nil {
		return Status{}, unavailable(fmt.Errorf("starting %s: %w", program, err))
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	s, err := awaitAnswer(ctx, files, died)
	if err == nil {
		return s, nil
	}
	// Nobody would find a daemon that does not answer: it must not stay.
	_ = cmd.Process.Kill()
	hints := tail(files.Log, offset)
	return Status{}, unavailable(fmt.Errorf("starting the embedded engine: %w", err), append(hints, "its log is "+files.Log)...)
}

// awaitAnswer asks until the daemon answers, ends, or time is up.
func awaitAnswer(ctx context.Context, files Files, died <-chan error) (Status, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if s, err := ask(ctx, files.Control, askStatus); err == nil {
			return s, nil
		}
		select {
		case err := <-died:
			if err == nil {
				err = errors.New("it ended at once")
			}
			return Status{}, err
		case <-ctx.Done():
			return Status{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// daemonEnv is the daemon's whole environment. What the daemon itself needs
// to fetch images is let through; no step ever sees any of it.
func daemonEnv(environ []string) []string {
	env := []string{"HOME=/root", "LANG=C.UTF-8"}
	for _, name := range []string{
		"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	} {
		if value := Getenv(environ, name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// openLog opens the log for appending and says where this run's part begins.
func openLog(path string) (*os.File, int64, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// tail returns the last lines of what was logged since offset.
func tail(path string, offset int64) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-tailLog)
	}
	text, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, offset, tailLog), tailLog))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[max(0, len(lines)-5):]
}
