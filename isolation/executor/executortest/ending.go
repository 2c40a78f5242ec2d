// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// family starts processes that do not want to end: a plain child, sessions of
// their own, a double fork, ones that ignore every signal they can, one that is
// stopped. Each keeps the command's stdout open. What follows it is how the
// command itself ends.
const family = `
stay() { trap '' HUP INT TERM QUIT PIPE USR1 USR2; while :; do sleep 1; done; }
hold() { while :; do sleep 1; done; }
hold &
stay &
( ( stay & ) & )
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' "$MARK" &
( setsid sh -c 'setsid sh -c "while :; do sleep 1; done" & exit' "$MARK" & )
nohup sh -c 'while :; do sleep 1; done' "$MARK" &
hold & kill -STOP $!
sleep 0.2
echo ready
`

func (s *suite) testEnding(t *testing.T) {
	for _, test := range []struct {
		name, last string
		code       int
		timeout    time.Duration
		cancel     bool
	}{
		{"succeeds", "exit 0", 0, 0, false},
		{"fails", "exit 7", 7, 0, false},
		{"killed", "kill -KILL $$; exit 137", 137, 0, false},
		{"takes too long", "sleep 100", executor.ExitTimeout, 1500 * time.Millisecond, false},
		{"takes too long and ignores signals", "stay", executor.ExitTimeout, 1500 * time.Millisecond, false},
		{"is cancelled", "sleep 100", 0, 0, true},
		{"is cancelled and ignores signals", "stay", 0, 0, true},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			mark := word()
			job := p.shell("echo x > out\n"+family+test.last, "out")
			job.Env = []pipeline.Var{{Name: "MARK", Value: mark}}
			job.Timeout = test.timeout
			if test.cancel {
				s.cancelled(t, job)
			} else {
				start := time.Now()
				p.run(job).wantExit(t, test.code)
				if took := time.Since(start); took > s.Start+6*time.Second {
					t.Errorf("it took %v to end", took)
				}
			}
			wantGone(t, mark)
			want := map[string]string{}
			if test.code == 0 && !test.cancel {
				want["out"] = "0644 x\n"
			}
			p.wantStaging(want)
		})
	}
	s.run(t, "ended before it began", s.testEndedBefore)
	s.run(t, "in time", s.testInTime)
}

// cancelled runs the job, ends its context once the command is under way, and
// wants the cause back within two seconds.
func (s *suite) cancelled(t *testing.T, job executor.Job) {
	t.Helper()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var stopped time.Time
	sink := writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("ready")) && stopped.IsZero() {
			stopped = time.Now()
			cancel(cause)
		}
		return len(b), nil
	})
	_, err := s.Executor.Run(ctx, job, executor.Streams{Stdout: sink})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause %v", err, cause)
	}
	if took := time.Since(stopped); stopped.IsZero() || took > 2*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

func (s *suite) testEndedBefore(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	p := s.project(t)
	got := p.runIn(ctx, p.shell("echo ran; echo x > out", "out"))
	if !errors.Is(got.err, cause) || got.stdout != "" {
		t.Fatalf("error %v, stdout %q", got.err, got.stdout)
	}
	p.wantStaging(nil)
}

func (s *suite) testInTime(t *testing.T) {
	p := s.project(t)
	job := p.shell("echo x > out", "out")
	job.Timeout = time.Minute
	p.run(job).wantExit(t, 0)
	p.wantStaging(map[string]string{"out": "0644 x\n"})
}

// wantGone fails when a process of this machine bears the mark. A moment is
// left for those that are dead but not yet waited for.
func wantGone(t *testing.T, mark string) {
	t.Helper()
	var left []string
	for range 20 {
		if left = bearing(t, mark); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("still alive: %q", left)
}

// bearing returns the command lines of processes that have the mark in their
// environment or on their command line. Zombies have neither.
func bearing(t *testing.T, mark string) []string {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	var found []string
	for _, folder := range folders {
		line, _ := os.ReadFile(filepath.Join(folder, "cmdline")) // it may be gone by now
		vars, _ := os.ReadFile(filepath.Join(folder, "environ"))
		if bytes.Contains(line, []byte(mark)) || bytes.Contains(vars, []byte(mark)) {
			found = append(found, filepath.Base(folder)+": "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}
