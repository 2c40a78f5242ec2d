// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor/executortest"
	"github.com/attest-pipeline/attest/isolation/process"
)

func TestMain(m *testing.M) {
	if process.IsInit(os.Args) {
		os.Exit(process.Main())
	}
	os.Exit(m.Run())
}

var environ = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/somebody", "USER=somebody", "OTHER=x"}

func fixture(*testing.T) executortest.Fixture {
	return executortest.Fixture{
		Executor: process.New(process.Options{Environ: environ}),
		BaseEnv: []pipeline.Var{
			{Name: "HOME", Value: "/home/somebody"}, {Name: "LANG", Value: "C.UTF-8"},
			{Name: "PATH", Value: "/usr/sbin:/usr/bin:/sbin:/bin"}, {Name: "TERM", Value: "dumb"}, {Name: "USER", Value: "somebody"},
		},
		Controls: []string{process.ControlKeysHidden, process.ControlMountNamespace, process.ControlPIDNamespace, process.ControlUserNamespace},
	}
}

func TestConformance(t *testing.T) { executortest.Run(t, fixture) }
