// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// stepProgram builds the program that steps run, without libraries.
var stepProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "attest-step-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "step")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./testdata/step")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// step is the LLB of a step that runs the program with these arguments.
func step(t testing.TB, opts []llb.RunOption, args ...string) *llb.Definition {
	t.Helper()
	program, err := stepProgram()
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]llb.RunOption{
		llb.Args(append([]string{"/bin/step"}, args...)), llb.IgnoreCache, llb.Network(llb.NetModeNone),
	}, opts...)
	root := llb.Scratch().File(llb.Mkdir("/bin", 0o755)).File(llb.Mkfile("/bin/step", 0o755, program))
	def, err := root.Run(opts...).Root().Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// solve runs a definition and returns everything that it printed.
func solve(ctx context.Context, c *client.Client, def *llb.Definition) (string, error) {
	var out strings.Builder
	ch := make(chan *client.SolveStatus)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range ch {
			for _, l := range s.Logs {
				out.Write(l.Data)
			}
		}
	}()
	_, err := c.Solve(ctx, def, client.SolveOpt{}, ch)
	<-done
	return out.String(), err
}

func dial(t testing.TB, address string) *client.Client {
	t.Helper()
	c, err := client.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func BenchmarkStep(b *testing.B) {
	c := dial(b, buildkitdtest.Start(b))
	def := step(b, nil)
	if _, err := solve(b.Context(), c, def); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := solve(b.Context(), c, def); err != nil {
			b.Fatal(err)
		}
	}
	_ = time.Now
}

func TestLook(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	out, err := solve(t.Context(), c, step(t, nil, "look"))
	t.Log(out, err)
}
