// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
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
		return job.RefuseBeyond(pipeline.Container, abilities()...)
	}
	if err := job.RefuseBeyond(pipeline.VM, abilities()...); err != nil {
		return err
	}
	_, err := vm.Find(*e.options.Machines)
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
	s := vm.Settings{
		Kernel: kernel,
		Memory: job.Limits.Memory, CPUs: job.Limits.CPUs, PIDs: job.Limits.PIDs, FileSize: job.Limits.FileSize,
	}
	if job.Deterministic != nil {
		s.Clock = job.Deterministic.Epoch.Unix()
		if job.Network != pipeline.NetworkOpen { // what a step says to others in secret must not be guessed
			s.Seed = job.Deterministic.Seed
		}
	}
	if v := job.Variation; v != nil {
		if v.ClockOffset != 0 {
			s.Clock = time.Now().Add(v.ClockOffset).Unix()
		}
		if s.CPUs == 0 && job.Deterministic == nil {
			s.CPUs = v.CPUs
		}
	}
	return s
}

// fixedStartTime is what a machine fixes for a deterministic step besides what a
// container does: the time at which the command starts. The clock runs on, and files
// that the step writes have the time of this host, whose file system they are in.
const fixedStartTime = "fixed-start-time"

// machineFixes adds what is fixed to the controls of a deterministic step, and
// machineVaries what the machine had otherwise to what was varied. Folders are
// listed as they are on this host.
func machineFixes(controls, ofContainer []string) []string {
	for _, c := range ofContainer {
		if strings.HasPrefix(c, "fixed-") {
			controls = append(controls, c)
		}
	}
	return append(controls, fixedStartTime, launch.FixedCPUs)
}

func machineVaries(ofContainer []string, v *executor.Variation, s vm.Settings) []string {
	varied := slices.DeleteFunc(slices.Clone(ofContainer), func(w string) bool {
		return w == launch.VariesCPUs
	})
	if v.ClockOffset != 0 {
		varied = append(varied, executor.VariedClock)
	}
	if v.CPUs > 0 && s.CPUs == v.CPUs && s.CPUs != vm.DefaultCPUs {
		varied = append(varied, executor.VariedCPUs)
	}
	slices.Sort(varied)
	return varied
}

// machineControls names what is in force for a step in a machine, ordered. Its
// making is the embedded engine's, which nobody else does.
func machineControls(conn *connect.Conn, job executor.Job) []string {
	list := append(vm.Controls(), networkControls(job)...)
	for _, limit := range limits(job.Limits) {
		if limit.asked {
			list = append(list, limit.control)
		}
	}
	if slices.Contains(conn.Embedded.Controls, launch.ControlWritesListed) {
		list = append(list, launch.ControlWritesListed)
	}
	if job.Deterministic != nil {
		list = machineFixes(list, conn.Embedded.Fixes)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// machineDemanded are the controls without which no step runs in a machine under
// --strict. What keeps a container off a kernel that it shares, seccomp and a bound
// of processes, is not among them: this kernel is the step's alone.
func machineDemanded(job executor.Job) []string {
	list := append(vm.Controls(), launch.ControlWritesListed)
	if job.Network == pipeline.NetworkNone {
		list = append(list, "network-none")
	}
	for _, limit := range limits(job.Limits) {
		if limit.asked {
			list = append(list, limit.control)
		}
	}
	return list
}

// machineOutcome puts what the engine said of the machine into the outcome.
func machineOutcome(o *executor.Outcome, facts vm.Facts, conn *connect.Conn, job executor.Job) {
	o.Engine = fmt.Sprintf("%s, qemu %s (%s), linux %s", o.Engine, facts.QEMU, facts.Accelerator, facts.Kernel)
	o.Controls = machineControls(conn, job)
	if facts.Seeded {
		o.Controls = append(o.Controls, executor.FixedAddresses, executor.FixedRandom)
		slices.Sort(o.Controls)
	}
	if job.Variation != nil {
		o.Varied = machineVaries(o.Varied, job.Variation, machineSettings(job, ""))
	}
}
