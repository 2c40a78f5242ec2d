// SPDX-License-Identifier: Apache-2.0

package process

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// others is how many processes and threads of the same user the limit of a user
// counts, beside those of the step: its init's and its keeper's, and those of
// steps that run at the same time.
const others = 64

// limits are what a step is kept to: by control groups, where this user may make
// such, else by what a process can be limited to.
type limits struct {
	*groups
	job      pipeline.Limits
	controls []string
}

// limit prepares the limits of a job. Under Job.Strict one that cannot be had
// is an error.
func (e *Executor) limit(job executor.Job) (*limits, error) {
	held := job.Limits
	held.PIDs = cmp.Or(held.PIDs, pipeline.DefaultPIDs)
	l := &limits{groups: e.keepers.groups.newGroups(held), job: job.Limits}
	missing := l.missing()
	if len(missing) > 0 && held != job.Limits { // for want of one that nobody asked for, it may be
		l.close()
		l = &limits{groups: e.keepers.groups.newGroups(job.Limits), job: job.Limits}
		missing = l.missing()
	}
	for _, g := range l.groups.limits {
		l.controls = append(l.controls, g.control)
	}
	if job.Strict && len(missing) > 0 {
		slices.Sort(missing)
		l.close()
		return nil, unavailable(missing, "limits need control groups that this user may write to")
	}
	return l, nil
}

// missing are the controls of limits that control groups would hold the step to,
// and do not.
func (l *limits) missing() (controls []string) {
	for _, limit := range groupLimits(l.job) {
		if !l.has(limit.control) {
			controls = append(controls, limit.control)
		}
	}
	return controls
}

// unavailable is the error of a strict step whose protections cannot be had.
func unavailable(controls []string, why string) error {
	return &executor.HintedError{
		Err:   fmt.Errorf("%w: under --strict a process needs %s, which is not to be had here", executor.ErrUnavailable, strings.Join(controls, ", ")),
		Hints: []string{why, "run without --strict, or give the step an image"},
	}
}

// forInit returns what the step's init is to see to.
func (l *limits) forInit(next *atomic.Uint64) stepinit.Limits {
	s := stepinit.Limits{Groups: l.kinds, FileSize: uint64(l.job.FileSize)}
	if s.FileSize > 0 {
		l.controls = append(l.controls, ControlFileSizeLimit)
	}
	if l.job.CPUs > 0 {
		if s.CPUs = someCPUs(l.job.CPUs, next); len(s.CPUs) > 0 {
			l.controls = append(l.controls, ControlCPUsAffinity)
		}
	}
	if l.job.Memory > 0 && !l.has(ControlMemoryLimit) {
		s.Memory = uint64(l.job.Memory)
		l.controls = append(l.controls, ControlMemoryEach)
	}
	// The kernel counts no processes of root.
	if l.job.PIDs > 0 && !l.has(ControlPIDsLimit) && os.Getuid() != 0 {
		s.PIDs = uint64(l.job.PIDs) + others
		l.controls = append(l.controls, ControlPIDsUser)
	}
	return s
}

// someCPUs returns n of the processors that this program may use, others for
// every step; nil where there are no more than that.
func someCPUs(n int, next *atomic.Uint64) []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var all []int
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	n = min(n, len(all))
	first := int(next.Add(uint64(n))) % len(all)
	chosen := make([]int, n)
	for i := range chosen {
		chosen[i] = all[(first+i)%len(all)]
	}
	return chosen
}

// names returns the limits that the step ran into, as attest.yaml calls them.
func (l *limits) names() []string {
	var all []string
	for _, control := range l.met() {
		switch control {
		case ControlMemoryLimit:
			all = append(all, pipeline.LimitMemory)
		case ControlPIDsLimit:
			all = append(all, pipeline.LimitPIDs)
		}
	}
	slices.Sort(all)
	return all
}
