// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// What a step sees without having been given it must be the same on every
// host, in every run.
func TestStepSeesNothingOfTheHost(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://leak.invalid:1") // the engine's, never a step's
	t.Setenv("TRACEPARENT", "00-leak")
	c := dial(t, buildkitdtest.Start(t))
	out, err := solve(t.Context(), c, step(t, "look"))
	if err != nil {
		t.Fatal(err, out)
	}
	nofile := uint64(1 << 19)
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: own.Cur, Max: max(own.Max, nofile)}); err != nil {
		nofile = own.Max // without CAP_SYS_RESOURCE nobody gets more
	}
	for _, want := range []string{
		"hostname: attest\n",
		`file: /etc/resolv.conf "" <nil>`,
		`file: /etc/hosts "127.0.0.1\tlocalhost attest\n::1\tlocalhost ip6-localhost ip6-loopback\n" <nil>`,
		fmt.Sprintf("limit: %d 0 %d\n", unix.RLIMIT_NOFILE, nofile),
		fmt.Sprintf("limit: %d 0 0\n", unix.RLIMIT_CORE),
		"umask: 22\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("missing %q in:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		kind, value, _ := strings.Cut(line, ": ")
		name, _, _ := strings.Cut(value, "=")
		switch {
		case kind == "env" && !slices.Contains([]string{"PATH", "HOME"}, name),
			kind == "interface" && value != "lo",
			kind == "process",                                     // there is no other
			kind == "mount" && strings.HasPrefix(value, "cgroup"), // names containers, and shows the host's
			kind == "dev" && strings.Contains(value, "sock"),
			kind == "file" && strings.Contains(value, "buildkit"):
			t.Errorf("a step sees %q", line)
		}
	}
	again, err := solve(t.Context(), c, step(t, "look"))
	if err != nil || again != out {
		t.Errorf("a second run sees something else (%v):\n%s\nbefore:\n%s", err, again, out)
	}
}

// Limits of the shell that happened to start the engine are no step's.
func TestLimitsOfAShell(t *testing.T) {
	d := buildkitdtest.New(t)
	var want []string
	for kind, usual := range map[int]uint64{
		unix.RLIMIT_CPU: unix.RLIM_INFINITY, unix.RLIMIT_FSIZE: unix.RLIM_INFINITY, unix.RLIMIT_DATA: unix.RLIM_INFINITY,
		unix.RLIMIT_AS: unix.RLIM_INFINITY, unix.RLIMIT_MEMLOCK: 8 << 20, unix.RLIMIT_MSGQUEUE: 800 << 10,
	} {
		var own unix.Rlimit
		if err := unix.Getrlimit(kind, &own); err != nil {
			t.Fatal(err)
		}
		// Half of what steps have is enough for a test. The hard one stays: not every
		// root may raise it again.
		if err := unix.Setrlimit(kind, &unix.Rlimit{Cur: min(usual, own.Max) / 2, Max: own.Max}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Setrlimit(kind, &own); err != nil {
				t.Errorf("this process goes on with another limit of %d: %v", kind, err)
			}
		})
		want = append(want, fmt.Sprintf("limit: %d %d %[2]d\n", kind, min(usual, own.Max)))
	}
	s, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := solve(t.Context(), dial(t, s.Address), step(t, "look"))
	if err != nil {
		t.Fatal(err, out)
	}
	_, limits, _ := strings.Cut(out, "umask: ")
	for _, line := range want {
		if !strings.Contains(limits, line) {
			t.Errorf("missing %q in:\n%s", line, limits)
		}
	}
}

func TestExitCodes(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	for _, test := range []struct {
		name string
		args []string
		want uint32
	}{
		{"its own", []string{"/bin/step", "exit", "3"}, 3},
		{"no such program", []string{"/bin/nowhere"}, 127},
		{"no such program on PATH", []string{"nowhere"}, 127},
		{"not a program", []string{"/bin"}, 126},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := solve(t.Context(), c, stepWith(t, nil, test.args...))
			var exit *gatewayapi.ExitError
			if !errors.As(err, &exit) || exit.ExitCode != test.want {
				t.Errorf("got %v, want exit code %d\n%s", err, test.want, out)
			}
		})
	}
}

func TestLogIsWhole(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	const lines = 80_000 // 8 MB at once: beyond what BuildKit keeps by default
	out, err := solve(t.Context(), c, step(t, "lines", "80000"))
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != lines*100 {
		t.Errorf("got %d bytes of log, want %d", len(out), lines*100)
	}
}

func TestOpenNetwork(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	out, err := solve(t.Context(), c, stepWith(t, []llb.RunOption{llb.Network(llb.NetModeSandbox)}, "/bin/step", "dial", listenLocally(t)))
	if err != nil || !strings.Contains(out, "connected") {
		t.Errorf("an open network does not reach this host: %v\n%s", err, out)
	}
	out, err = solve(t.Context(), c, step(t, "dial", listenLocally(t)))
	if err == nil {
		t.Errorf("without a network a step reaches this host:\n%s", out)
	}
}

// A step that is stopped takes everything with it that it started.
func TestCancelKillsAll(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	mark := "mark-" + t.Name()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := solve(ctx, c, step(t, "fork", "1000", mark))
		done <- err
	}()
	eventually(t, 20*time.Second, "the step runs, and its child", func() bool { return processes(mark) == 2 })
	cancel()
	start := time.Now()
	if err := <-done; err == nil {
		t.Error("a cancelled solve succeeded")
	}
	eventually(t, 2*time.Second-time.Since(start), "every process is gone", func() bool { return processes(mark) == 0 })
}

// listenLocally is a service of this host, on loopback.
func listenLocally(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Containers that somebody talks to are BuildKit's own; they must work too.
func TestContainerOfAGateway(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	var out strings.Builder
	build := func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		def, err := rootfs(t).Marshal(ctx)
		if err != nil {
			return nil, err
		}
		res, err := g.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB(), Evaluate: true})
		if err != nil {
			return nil, err
		}
		ref, err := res.SingleRef()
		if err != nil {
			return nil, err
		}
		ctr, err := g.NewContainer(ctx, gateway.NewContainerRequest{
			Mounts: []gateway.Mount{{Dest: "/", MountType: pb.MountType_BIND, Ref: ref}}, NetMode: pb.NetMode_NONE,
		})
		if err != nil {
			return nil, err
		}
		defer ctr.Release(ctx)
		first, err := ctr.Start(ctx, gateway.StartRequest{Args: []string{"/bin/step", "sleep", "60"}, Cwd: "/"})
		if err != nil {
			return nil, err
		}
		second, err := ctr.Start(ctx, gateway.StartRequest{Args: []string{"/bin/step", "look"}, Cwd: "/", Stdout: nopCloser{&out}})
		if err != nil {
			return nil, err
		}
		if err := second.Wait(); err != nil {
			return nil, err
		}
		_ = first.Signal(ctx, syscall.SIGKILL)
		_ = first.Wait()
		return res, nil
	}
	if _, err := c.Build(t.Context(), client.SolveOpt{}, "", build, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "hostname: attest\n") {
		t.Errorf("got:\n%s", out.String())
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
