// SPDX-License-Identifier: Apache-2.0

package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/worker"
)

type runFunc func(context.Context, executor.Job, executor.Streams) (executor.Outcome, error)

func (f runFunc) Run(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	return f(ctx, j, s)
}

// serve answers with run on a socket of the test's own until the test ends.
func serve(t *testing.T, run runFunc) *worker.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		s := worker.Server{Version: "v1", Executors: containers(run)}
		served <- s.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &worker.Client{Version: "v1", Level: pipeline.Container, Dial: func(ctx context.Context, _ func(executor.Progress)) (io.ReadWriteCloser, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
}

func TestJobAndOutcomeArriveWhole(t *testing.T) {
	inputs, err := tree.New([]tree.Entry{
		{Path: "a\n\xff", Kind: tree.File, Perm: 0o600, Size: 3, Digest: digest.Of([]byte("abc")), SHA256: digest.OfSHA256([]byte("abc"))},
		{Path: "empty", Kind: tree.Dir, Perm: 0o755},
		{Path: "link", Kind: tree.Symlink, Perm: 0o777, Size: 1, Target: "a", Digest: digest.Of([]byte("a"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := executor.Job{
		Step: "s", Command: pipeline.Command{Argv: []string{"x", ""}}, Env: []pipeline.Var{{Name: "A", Value: "b\n"}},
		WorkingDir: ".", Image: "i", Network: pipeline.NetworkNone, Timeout: time.Second, Root: "/r", Inputs: inputs,
		Outputs: []pipeline.Pattern{{Text: "o", Optional: true}}, Staging: "/s",
		Limits: pipeline.Limits{Memory: 1, CPUs: 2, PIDs: 3, FileSize: 4}, NetworkAllow: []string{"a"},
		Locked:  &executor.Locked{URLs: []string{"u"}, Passed: []string{"p"}},
		Secrets: []executor.Secret{{Name: "S", Mount: "/m", Value: executor.NewSecretValue([]byte("hunter2\x00\xff"))}, {Name: "T"}},
		Caches:  []executor.CacheFolder{{Name: "c", Path: "/c"}}, Strict: true, Trace: true,
		Deterministic: &executor.Determinism{Epoch: time.Unix(1, 0).UTC(), Seed: "s"},
		Variation:     &executor.Variation{ClockOffset: time.Hour, Hostname: "h", Umask: 0o77, CPUs: 1, ReverseDirs: true, Project: "/p"},
	}
	outcome := executor.Outcome{ExitCode: 3, TimedOut: true, Duration: time.Minute, Engine: "e", Image: "i@sha256:1", Controls: []string{"c"},
		Fetched: []executor.Fetch{{URL: "u", SHA256: digest.OfSHA256(nil)}}, Unrecorded: []string{"GET v: why"}, Read: []executor.File{{Path: "r", Digest: digest.Of(nil)}},
		Programs: []executor.File{{Path: "/p", Digest: digest.Of(nil)}}, Listed: []string{"d"}, Missing: []string{"m"}, MissingPrograms: []string{"p"}, Unread: []string{"u"},
		Seen:       &executor.Seen{Opened: []string{"o"}, Looked: []string{"l"}, Listed: []string{"d"}, Wrote: []string{"w"}, Unseen: []string{"w"}},
		Unexpected: []string{"x"}, Modified: []string{"y"}, Varied: []string{"v"}, Met: []string{"memory"}, Concealed: []string{"/c"},
		Refused: []executor.Refused{{URL: "u", Why: "w", NotLocked: true, NotAllowed: "h"}}}
	var got executor.Job
	client := serve(t, func(_ context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
		got = j
		_, _ = io.WriteString(s.Stdout, "out\x00")
		_, _ = io.WriteString(s.Stderr, "err")
		s.Progress(executor.Progress{Doing: "pulling", Current: 1, Total: 2, Unit: "bytes"})
		return outcome, nil
	})
	var stdout, stderr bytes.Buffer
	var progress []executor.Progress
	gotOutcome, err := client.Run(t.Context(), want, executor.Streams{Stdout: &stdout, Stderr: &stderr,
		Progress: func(p executor.Progress) { progress = append(progress, p) }})
	if err != nil {
		t.Fatal(err)
	}
	everyField(t, want)
	everyField(t, outcome)
	if diff := cmp.Diff(want, got, secretValues, cmp.Comparer(func(a, b tree.Tree) bool {
		return cmp.Equal(a.Entries(), b.Entries(), cmp.AllowUnexported(digest.Digest{}))
	})); diff != "" {
		t.Errorf("job (-sent +received):\n%s", diff)
	}
	if diff := cmp.Diff(outcome, gotOutcome, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("outcome (-sent +received):\n%s", diff)
	}
	if stdout.String() != "out\x00" || stderr.String() != "err" || len(progress) != 1 || progress[0].Total != 2 {
		t.Errorf("stdout %q, stderr %q, progress %v", stdout.String(), stderr.String(), progress)
	}
}

// secretValues compares what secrets hold; one without a value is an empty one.
var secretValues = cmp.Comparer(func(a, b executor.SecretValue) bool { return bytes.Equal(a.Reveal(), b.Reveal()) })

// everyField wants v to be a struct without a zero field, so that a new one is
// sent too.
func everyField(t *testing.T, v any) {
	t.Helper()
	for i, s := 0, reflect.ValueOf(v); i < s.NumField(); i++ {
		if name := s.Type().Field(i).Name; s.Field(i).IsZero() && name != "Pos" {
			t.Errorf("this test sends no %s", name)
		}
	}
}

func TestErrorsKeepTheirKindAndHints(t *testing.T) {
	changed := &executor.InputChangedError{Path: "src/x", Err: errors.New("size 3, planned 4")}
	image := &executor.ImageError{Image: "golang:9", Err: errors.New("not found")}
	for _, sent := range []error{
		changed, image,
		&executor.HintedError{Err: image, Hints: []string{"check the name"}},
		&executor.HintedError{Err: executor.ErrUnavailable, Hints: []string{"apt install runc"}},
		errors.New("plain"),
	} {
		client := serve(t, func(context.Context, executor.Job, executor.Streams) (executor.Outcome, error) {
			return executor.Outcome{}, sent
		})
		_, got := client.Run(t.Context(), executor.Job{}, executor.Streams{})
		if got == nil || got.Error() != sent.Error() {
			t.Errorf("sent %v, received %v", sent, got)
			continue
		}
		var wantHinted, gotHinted *executor.HintedError
		if errors.As(sent, &wantHinted) && (!errors.As(got, &gotHinted) || !cmp.Equal(wantHinted.Hints, gotHinted.Hints)) {
			t.Errorf("%v lost its hints", sent)
		}
		if errors.Is(sent, executor.ErrUnavailable) != errors.Is(got, executor.ErrUnavailable) {
			t.Errorf("%v: unavailability was lost or made up", sent)
		}
		var c *executor.InputChangedError
		if errors.As(sent, &c) && (!errors.As(got, &c) || c.Path != changed.Path) {
			t.Errorf("%v: the path was lost", sent)
		}
		var i *executor.ImageError
		if errors.As(sent, &i) && (!errors.As(got, &i) || i.Image != image.Image) {
			t.Errorf("%v: the image was lost", sent)
		}
	}
}

func TestCancelStopsTheJobAndWaitsForIt(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	client := serve(t, func(ctx context.Context, _ executor.Job, _ executor.Streams) (executor.Outcome, error) {
		close(started)
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond)
		close(ended)
		return executor.Outcome{}, context.Cause(ctx)
	})
	why := errors.New("the user said so")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-started; cancel(why) }()
	_, err := client.Run(ctx, executor.Job{}, executor.Streams{})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want the cause of the context", err)
	}
	select {
	case <-ended:
	default:
		t.Error("Run returned before the job had ended")
	}
}

func TestAJobThatIgnoresCancelIsLeft(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{})
	client := serve(t, func(context.Context, executor.Job, executor.Streams) (executor.Outcome, error) {
		close(started)
		<-release
		return executor.Outcome{}, nil
	})
	t.Cleanup(func() { close(release) }) // before the clean-up of serve, which waits
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-started; cancel(nil) }()
	began := time.Now()
	if _, err := client.Run(ctx, executor.Job{}, executor.Streams{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAClientThatDiesStopsItsJob(t *testing.T) {
	stopped := make(chan error, 1)
	started := make(chan struct{})
	client := serve(t, func(ctx context.Context, _ executor.Job, _ executor.Streams) (executor.Outcome, error) {
		close(started)
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return executor.Outcome{}, context.Cause(ctx)
	})
	dial := client.Dial
	var conn io.ReadWriteCloser
	client.Dial = func(ctx context.Context, p func(executor.Progress)) (_ io.ReadWriteCloser, err error) {
		conn, err = dial(ctx, p)
		return conn, err
	}
	go func() { <-started; _ = conn.Close() }()
	if _, err := client.Run(t.Context(), executor.Job{}, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the job goes on without its client")
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	client := serve(t, func(context.Context, executor.Job, executor.Streams) (executor.Outcome, error) {
		t.Error("the job ran")
		return executor.Outcome{}, nil
	})
	client.Version = "v2"
	if _, err := client.Run(t.Context(), executor.Job{}, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// containers are the executors of a server that has one level.
func containers(e executor.Executor) map[pipeline.Isolation]executor.Executor {
	return map[pipeline.Isolation]executor.Executor{pipeline.Container: e}
}

func TestLevelThatTheServerHasNot(t *testing.T) {
	client := serve(t, runFunc(func(context.Context, executor.Job, executor.Streams) (executor.Outcome, error) {
		t.Error("a job for a virtual machine ran in a container")
		return executor.Outcome{}, nil
	}))
	client.Level = pipeline.VM
	if _, err := client.Run(t.Context(), executor.Job{}, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("got %v, want an error that matches ErrUnavailable", err)
	}
}

// TestMain makes this test program the worker that TestProcess starts.
func TestMain(m *testing.M) {
	if os.Getenv("WORKER_TEST") == "" {
		os.Exit(m.Run())
	}
	l, err := worker.Inherited()
	if err == nil {
		s := worker.Server{Version: "v1", Executors: containers(runFunc(func(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
			_, _ = io.WriteString(s.Stdout, "hello from "+j.Step)
			if j.Step == "forever" {
				<-ctx.Done()
			}
			return executor.Outcome{ExitCode: os.Getpid()}, nil
		}))}
		err = s.Serve(context.Background(), l)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

func TestProcessRunsJobsAndEndsWithItsParent(t *testing.T) {
	p := &worker.Process{Find: func() (string, error) { return "/proc/self/exe", nil }, Environ: []string{"WORKER_TEST=1"}, Stderr: os.Stderr}
	client := worker.Client{Version: "v1", Level: pipeline.Container, Dial: p.Dial}
	var pids [3]int
	var group errgroup.Group
	for i := range pids {
		group.Go(func() error {
			var stdout bytes.Buffer
			outcome, err := client.Run(t.Context(), executor.Job{Step: "s"}, executor.Streams{Stdout: &stdout})
			if stdout.String() != "hello from s" {
				t.Errorf("stdout is %q", stdout.String())
			}
			pids[i] = outcome.ExitCode
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if pids[0] == 0 || pids[0] == os.Getpid() || pids[0] != pids[1] || pids[1] != pids[2] {
		t.Errorf("ran in processes %v, want one other than %d", pids, os.Getpid())
	}
	forever := make(chan error, 1)
	printed := make(chan struct{})
	go func() {
		_, err := client.Run(t.Context(), executor.Job{Step: "forever"}, executor.Streams{
			Stdout: closer{printed}})
		forever <- err
	}()
	<-printed
	if err := p.Close(); err != nil {
		t.Errorf("closing the worker: %v", err)
	}
	<-forever // whatever it says, it came back
	if err := p.Close(); err != nil {
		t.Errorf("closing it twice: %v", err)
	}
}

// closer closes a channel at the first write.
type closer struct{ c chan struct{} }

func (c closer) Write(p []byte) (int, error) { close(c.c); return len(p), nil }

func TestProcessThatCannotStart(t *testing.T) {
	p := &worker.Process{Find: func() (string, error) { return "/nonexistent/worker", nil }}
	client := worker.Client{Dial: p.Dial}
	if _, err := client.Run(t.Context(), executor.Job{}, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
