// SPDX-License-Identifier: Apache-2.0

package display_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/isolation/event"
)

// terminal is one that nobody looks at: a pseudo-terminal whose output is kept.
type terminal struct {
	tty  *os.File // what a program would have as stderr
	ptmx *os.File
	done chan struct{}

	mu   sync.Mutex
	seen strings.Builder
}

func newTerminal(t *testing.T, cols, rows uint16) *terminal {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	fd := int(ptmx.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{tty: tty, ptmx: ptmx, done: make(chan struct{})}
	go func() {
		defer close(term.done)
		buf := make([]byte, 4096)
		for {
			n, err := ptmx.Read(buf)
			term.mu.Lock()
			term.seen.Write(buf[:n])
			term.mu.Unlock()
			if err != nil && !errors.Is(err, io.EOF) {
				return // EIO: the other side is closed
			}
		}
	}()
	t.Cleanup(func() { tty.Close(); ptmx.Close(); <-term.done })
	return term
}

func (t *terminal) output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.String()
}

// waitFor waits until the terminal has been sent a text.
func (t *terminal) waitFor(tt *testing.T, text string) {
	tt.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(t.output(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tt.Fatalf("the terminal never showed %q; it got %q", text, t.output())
		}
	}
}

func getenv(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func emit(d display.Display, bodies ...event.Body) {
	for _, b := range bodies {
		d.Emit(event.Event{Time: time.Now(), Body: b})
	}
}

func TestLiveView(t *testing.T) {
	term := newTerminal(t, 40, 10)
	d := display.New(t.Context(), display.Options{
		Mode: display.TTY, Out: term.tty, Environ: []string{"TERM=xterm-256color"}, Getenv: getenv(map[string]string{"TERM": "xterm-256color"}),
	})
	emit(d,
		event.RunStarted{Steps: []string{"lint", "build"}, Jobs: 2},
		event.StepStarted{Step: "lint"},
		event.StepStarted{Step: "build"},
		event.StepLog{Step: "build", Stream: "stdout", Data: "\x1b[2J\x1b]0;owned\x07compiling " + strings.Repeat("x", 200) + "END\n"},
	)
	term.waitFor(t, "| compiling xxx")
	term.waitFor(t, "0/2 done, 2 running")
	emit(d, event.StepFinished{Step: "lint", Status: "succeeded", Cache: "off", Duration: time.Second})
	term.waitFor(t, "1/2 done, 1 running")
	emit(d, event.StepFinished{Step: "build", Status: "failed", ExitCode: 2, Duration: 2 * time.Second}, event.RunFinished{Status: "failed"})
	d.Close()
	term.waitFor(t, "END") // the log of what failed, whole
	got := term.output()
	if strings.Contains(got, "\x1b[2J") || strings.Contains(got, "owned") {
		t.Errorf("a step drove the terminal: %q", got)
	}
	view, after, _ := strings.Cut(got, "--- the log of build")
	if strings.Contains(view, "END") {
		t.Error("a line longer than the terminal is wide was not cut")
	}
	if !strings.Contains(view, "lint (1.0s)") || !strings.Contains(view, "build (2.0s) - exit code 2") {
		t.Errorf("finished steps are missing in %q", view)
	}
	if hidden, shown := strings.LastIndex(got, "\x1b[?25l"), strings.LastIndex(got, "\x1b[?25h"); shown < hidden {
		t.Error("the cursor stays hidden")
	}
	if strings.Contains(after, "\x1b[?25l") {
		t.Error("the view was drawn after its end")
	}
}

func TestLiveViewEndsWithTheContext(t *testing.T) {
	term := newTerminal(t, 80, 24)
	ctx, cancel := context.WithCancelCause(t.Context())
	d := display.New(ctx, display.Options{
		Mode: display.TTY, Out: term.tty, Environ: []string{"TERM=xterm"}, Getenv: getenv(map[string]string{"TERM": "xterm"}),
	})
	emit(d, event.RunStarted{Steps: []string{"slow"}}, event.StepStarted{Step: "slow"})
	term.waitFor(t, "0/1 done, 1 running")
	cancel(errors.New("interrupt"))
	term.waitFor(t, "stopping the steps that run")
	before := term.output()
	if hidden, shown := strings.LastIndex(before, "\x1b[?25l"), strings.LastIndex(before, "\x1b[?25h"); shown < hidden {
		t.Error("the cursor stays hidden while steps are stopped")
	}
	emit(d, event.StepFinished{Step: "slow", Status: "interrupted", Duration: time.Second}, event.RunFinished{Status: "interrupted"})
	d.Close()
	term.waitFor(t, "slow (1.0s) - interrupted")
	term.waitFor(t, "1 step: 0 ok, 1 interrupted")
}

func TestColour(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		mode display.Mode
		want bool
	}{
		{"terminal", map[string]string{"TERM": "xterm"}, display.Plain, true},
		{"NO_COLOR", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, display.Plain, false},
		{"dumb", map[string]string{"TERM": "dumb"}, display.TTY, false},
		{"CI", map[string]string{"TERM": "xterm", "CI": "true", "NO_COLOR": "1"}, display.Auto, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			term := newTerminal(t, 80, 24)
			d := display.New(t.Context(), display.Options{Mode: c.mode, Out: term.tty, Getenv: getenv(c.env)})
			emit(d, event.StepFinished{Step: "build", Status: "succeeded"}, event.RunFinished{})
			d.Close()
			term.waitFor(t, "1 ok (0.0s)")
			if got := strings.Contains(term.output(), "\x1b["); got != c.want {
				t.Errorf("escapes: %v, want %v, in %q", got, c.want, term.output())
			}
		})
	}
}
