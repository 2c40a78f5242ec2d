// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"slices"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/vm"
)

// errNoMachine means that an engine ran in a container what it was told to run
// in a virtual machine.
var errNoMachine = errors.New("the engine did not run the step in a virtual machine")

// check refuses a job that asks for more than there is, and one for a virtual
// machine where this host lacks what that takes, before anything is started.
func (e *Executor) check(job executor.Job) error {
	if e.options.Machines == nil {
		return job.RefuseBeyond(pipeline.Container, executor.AbilityNoNetwork, executor.AbilityRecorded, executor.AbilityOpen,
			executor.AbilityVariation, executor.AbilityDeterministic)
	}
	err := job.RefuseBeyond(pipeline.VM, executor.AbilityNoNetwork, executor.AbilityOpen, executor.AbilityLimits, executor.AbilityVariation)
	if err != nil {
		return err
	}
	_, err = vm.Find(*e.options.Machines)
	return err
}

func errOtherEngine(conn *connect.Conn) error {
	return &executor.HintedError{
		Err:   fmt.Errorf("%w: isolation: vm is made by the embedded engine, and this is %s", executor.ErrUnavailable, conn.Name),
		Hints: []string{"leave out --engine, ATTEST_ENGINE and BUILDKIT_HOST to use the embedded engine"},
	}
}

// machineSettings say what machine a job gets.
func machineSettings(job executor.Job, kernel string) vm.Settings {
	return vm.Settings{
		Kernel: kernel,
		Memory: job.Limits.Memory, CPUs: job.Limits.CPUs, PIDs: job.Limits.PIDs, FileSize: job.Limits.FileSize,
	}
}

// machineOutcome puts what the engine said of the machine into the outcome.
func machineOutcome(o *executor.Outcome, facts vm.Facts, job executor.Job) {
	o.Engine = fmt.Sprintf("%s, qemu %s (%s), linux %s", o.Engine, facts.QEMU, facts.Accelerator, facts.Kernel)
	o.Controls, o.Varied = vm.Controls(), nil
	if job.Network == pipeline.NetworkNone {
		o.Controls = append(o.Controls, "network-none")
	}
	for _, limit := range []struct {
		value   int64
		control string
	}{{int64(job.Limits.PIDs), "pids-limit"}, {job.Limits.FileSize, "file-size-limit"}} {
		if limit.value > 0 {
			o.Controls = append(o.Controls, limit.control)
		}
	}
	slices.Sort(o.Controls)
}
