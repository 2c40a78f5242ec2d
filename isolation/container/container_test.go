// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"context"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/executor/executortest"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// start returns an executor over the engine that all tests share.
func start(t testing.TB, key string) *container.Executor {
	t.Helper()
	daemon := buildkitdtest.Shared(t)
	e := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Daemon: daemon, Progress: progress})
		},
		Images:  image.NewResolver(t.TempDir(), image.Local()),
		KeyFile: key,
	})
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

func TestConformance(t *testing.T) {
	executortest.Run(t, func(t *testing.T) executortest.Fixture {
		return executortest.Fixture{
			Executor: start(t, ""),
			Image:    imagetest.Busybox(t),
			BaseEnv: []pipeline.Var{
				{Name: "HOME", Value: "/root"},
				{Name: "IMAGE", Value: "busybox"},
				{Name: "LANG", Value: "C.UTF-8"},
				{Name: "PATH", Value: "/bin"},
				{Name: "TERM", Value: "dumb"},
				{Name: "USER", Value: "root"},
			},
			Sealed:   true,
			Text:     true,
			Controls: []string{"mount-namespace", "network-none", "pid-namespace", "seccomp"},
		}
	})
}
