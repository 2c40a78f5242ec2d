// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/attest-pipeline/attest/isolation/executor"
)

func (s *suite) testStreams(t *testing.T) {
	s.run(t, "apart and in order", s.testApart)
	s.run(t, "binary", s.testBinary)
	s.run(t, "without an end of line", s.testNoNewline)
	s.run(t, "much", s.testMuch)
	s.run(t, "to nobody", s.testNobody)
	s.run(t, "while it runs", s.testLive)
	s.run(t, "at once", s.testAtOnce)
}

func (s *suite) testApart(t *testing.T) {
	p := s.project(t)
	got := p.run(p.shell("for i in 1 2 3; do echo out$i; echo err$i >&2; done"))
	got.wantStdout(t, "out1\nout2\nout3\n")
	if got.stderr != "err1\nerr2\nerr3\n" {
		t.Fatalf("stderr %q", got.stderr)
	}
}

func (s *suite) testBinary(t *testing.T) {
	p := s.project(t)
	content := make([]byte, 1<<20)
	for random, i := rand.New(rand.NewPCG(1, 2)), 0; i < len(content); i++ {
		content[i] = byte(random.Uint32())
	}
	p.write("noise", string(content), 0o644)
	got := p.run(p.shell("cat noise; cat noise >&2"))
	got.wantExit(t, 0)
	if got.stdout != string(content) {
		t.Errorf("stdout is not what was printed: %d bytes of %d", len(got.stdout), len(content))
	}
	if got.stderr != string(content) {
		t.Errorf("stderr is not what was printed: %d bytes of %d", len(got.stderr), len(content))
	}
}

func (s *suite) testNoNewline(t *testing.T) {
	p := s.project(t)
	p.run(p.shell(`printf 'a\nb'`)).wantStdout(t, "a\nb")
}

// What a command prints passes through; it does not pile up.
func (s *suite) testMuch(t *testing.T) {
	const size, bound = 64 << 20, 24 << 20
	p := s.project(t)
	job := p.shell(fmt.Sprintf("head -c %d /dev/zero", size))
	runtime.GC()
	sink := &counter{base: heap()}
	outcome, err := s.Executor.Run(t.Context(), job, executor.Streams{Stdout: sink})
	result{Outcome: outcome, err: err}.wantExit(t, 0)
	if sink.n != size {
		t.Errorf("%d bytes arrived of %d", sink.n, size)
	}
	if sink.peak > bound {
		t.Errorf("memory grew by %d MB while %d MB were printed", sink.peak>>20, size>>20)
	}
}

// counter counts bytes and watches the heap meanwhile.
type counter struct {
	n, looked  int64
	base, peak uint64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	if c.n-c.looked > 4<<20 {
		c.looked = c.n
		if now := heap(); now > c.base {
			c.peak = max(c.peak, now-c.base)
		}
	}
	return len(b), nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func (s *suite) testNobody(t *testing.T) {
	p := s.project(t)
	outcome, err := s.Executor.Run(t.Context(), p.shell("echo out; echo err >&2"), executor.Streams{})
	result{Outcome: outcome, err: err}.wantExit(t, 0)
}

// A line is there as soon as it was printed: the command waits until it is
// stopped, which the test does on seeing the line.
func (s *suite) testLive(t *testing.T) {
	p := s.project(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	seen := fmt.Errorf("the line was seen")
	sink := writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("ready")) {
			cancel(seen)
		}
		return len(b), nil
	})
	_, err := s.Executor.Run(ctx, p.shell("echo ready; exec sleep 60"), executor.Streams{Stdout: sink})
	if err == nil || context.Cause(ctx) != seen {
		t.Fatalf("error %v, cause %v: the line came only with the end", err, context.Cause(ctx))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ io.Writer = writerFunc(nil)

func (s *suite) testAtOnce(t *testing.T) {
	const jobs, lines = 8, 200
	var running sync.WaitGroup
	for n := range jobs {
		p := s.project(t)
		job := p.shell(fmt.Sprintf("for i in $(seq %d); do echo job %d; done; echo %d > out", lines, n, n), "out")
		running.Go(func() {
			got := s.runIn(t.Context(), job)
			if want := strings.Repeat(fmt.Sprintf("job %d\n", n), lines); got.err != nil || got.ExitCode != 0 || got.stdout != want {
				t.Errorf("job %d: exit code %d, error %v, %d bytes of %d, stderr %q",
					n, got.ExitCode, got.err, len(got.stdout), len(want), got.stderr)
			}
			if left := describe(t, job.Staging); left["out"] != fmt.Sprintf("0644 %d\n", n) {
				t.Errorf("job %d left %q", n, left)
			}
		})
	}
	running.Wait()
}
