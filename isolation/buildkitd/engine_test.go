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

// rootfs is a root file system with /bin/step and nothing else.
func rootfs(t testing.TB) llb.State {
	t.Helper()
	program, err := stepProgram()
	if err != nil {
		t.Fatal(err)
	}
	return llb.Scratch().File(llb.Mkdir("/bin", 0o755).Mkfile("/bin/step", 0o755, program))
}

// step is the LLB of a step without network that runs the program.
func step(t testing.TB, args ...string) *llb.Definition {
	t.Helper()
	return stepWith(t, nil, append([]string{"/bin/step"}, args...)...)
}

func stepWith(t testing.TB, opts []llb.RunOption, args ...string) *llb.Definition {
	t.Helper()
	opts = append([]llb.RunOption{llb.Args(args), llb.IgnoreCache, llb.Network(llb.NetModeNone)}, opts...)
	def, err := rootfs(t).Run(opts...).Root().Marshal(context.Background())
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
	c, err := client.New(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually waits for a condition, and says for what if it does not come.
func eventually(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// processes counts processes of this host, containers included, that have mark
// among their arguments.
func processes(mark string) int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	n := 0
	for _, path := range lines {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "\x00"+mark+"\x00") {
			n++
		}
	}
	return n
}
