// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// A world is what a job sees that is not as on every run: fixed, where the job is
// deterministic, or otherwise than in the first run. What cannot be had is left
// out and not named.

// timeShift is by how much inputs are older in a second run. They are not newer:
// make takes times to come for an error.
const timeShift = 25 * time.Hour

// What the numbers of a step's processes begin after: more than its init has
// threads.
const (
	fixedLastPID  = 99
	variedLastPID = 999
)

// mostCopied bounds what is copied to give inputs other times.
const mostCopied = 1 << 30

// world is what was arranged for a job.
type world struct {
	job     executor.Job
	umask   bool
	cpus    bool
	retimed bool
}

// arrange adds to an order what the job's world takes.
func (e *Executor) arrange(job executor.Job, at place, o *stepinit.Order) world {
	w := world{job: job}
	over, ok := at.(*overlay)
	w.retimed = ok && over.retimed
	cpus := 0
	switch v := job.Variation; {
	case job.Deterministic != nil:
		o.World = stepinit.World{Hostname: executor.FixedHost, LastPID: fixedLastPID}
		w.umask, cpus = true, 1
	case v != nil:
		o.World = stepinit.World{Hostname: v.Hostname, Umask: uint64(v.Umask), LastPID: variedLastPID}
		w.umask, cpus = v.Umask != 0, v.CPUs
		// What a trace is told of names is told by the project's path.
		if ok && v.Project != "" && !job.Trace && free(v.Project, o.View) {
			o.View.Alias = v.Project
			if rest, ok := below(o.Dir, job.Root); ok {
				o.AliasDir = join(v.Project, rest)
			}
		}
	}
	if cpus == 0 || !ok || job.Limits.CPUs > 0 {
		return w
	}
	if chosen := someCPUs(cpus, &e.keepers.cpus); len(chosen) == cpus {
		if files, ok := processors(cpus); ok {
			o.Limits.CPUs, o.Files, w.cpus = chosen, append(o.Files, files...), true
		}
	}
	return w
}

// free reports whether a folder can be made at a path, in the step's own /tmp,
// without being in the way of something.
func free(p string, v stepinit.View) bool {
	if _, ok := below(p, "/tmp"); !ok || p == "/tmp" {
		return false
	}
	for _, other := range append([]string{v.Project, v.Home}, v.Writable...) {
		if _, in := below(other, p); in {
			return false
		}
		if _, in := below(p, other); in && other != "" {
			return false
		}
	}
	return true
}

// tell splits what an init says that it did into controls and what was varied.
func (w world) tell(said []string) (controls, varied []string) {
	fixed := w.job.Deterministic != nil
	note := func(did bool, control, difference string) {
		switch {
		case !did:
		case fixed && control != "":
			controls = append(controls, control)
		case !fixed && difference != "":
			varied = append(varied, difference)
		}
	}
	for _, c := range said {
		switch c {
		case stepinit.DidHostname:
			note(true, executor.FixedHostname, executor.VariedHostname)
		case stepinit.DidOrder:
			note(true, executor.FixedOrder, executor.VariedOrder)
		case stepinit.DidPIDs:
			note(true, executor.FixedPIDs, executor.VariedPIDs)
		case stepinit.DidAlias:
			note(true, "", executor.VariedPath)
		default:
			controls = append(controls, c)
		}
	}
	note(w.umask, executor.FixedUmask, executor.VariedUmask)
	note(w.cpus, executor.FixedCPUs, executor.VariedCPUs)
	note(w.retimed, executor.FixedInputTimes, executor.VariedInputTimes)
	slices.Sort(varied)
	return controls, varied
}

// processors are files that tell of n processors: some programs count those that
// they may use, others read these.
func processors(n int) ([]stepinit.File, bool) {
	text, err := os.ReadFile("/proc/cpuinfo")
	blocks := bytes.SplitAfter(text, []byte("\n\n"))
	if err != nil || len(blocks) < n {
		return nil, false
	}
	const online = "/sys/devices/system/cpu/online"
	if _, err := os.Stat(online); err != nil {
		return nil, false
	}
	list := "0\n"
	if n > 1 {
		list = "0-" + strconv.Itoa(n-1) + "\n"
	}
	return []stepinit.File{
		{Path: "/proc/cpuinfo", Content: bytes.Join(blocks[:n], nil), Public: true},
		{Path: online, Content: []byte(list), Public: true},
	}, true
}

// world gives the inputs the times, and the folders the order, that the job's
// world asks for.
func (o *overlay) world(ctx context.Context) error {
	var when func(time.Time) time.Time
	switch {
	case o.job.Deterministic != nil:
		o.order = stepinit.OrderSorted
		when = func(time.Time) time.Time { return o.job.Deterministic.Epoch }
	case o.job.Variation != nil && o.job.Variation.ReverseDirs:
		when = func(t time.Time) time.Time { return t.Add(-timeShift) }
		o.order = stepinit.OrderReversed
	default:
		return nil
	}
	return o.retime(ctx, when)
}

// retime copies the inputs to the upper folder, with other times. What the step
// leaves as it is does not count as written: contents are compared.
func (o *overlay) retime(ctx context.Context, when func(time.Time) time.Time) error {
	var total int64
	for _, e := range o.job.Inputs.Entries() {
		total += e.Size
	}
	if total > mostCopied {
		return nil
	}
	for _, e := range o.job.Inputs.Entries() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !o.saw(e.Path) {
			continue
		}
		if err := o.retimeOne(e, when); err != nil {
			return err
		}
	}
	folders := make([]string, 0, len(o.made))
	for p := range o.made {
		folders = append(folders, p)
	}
	slices.SortFunc(folders, func(a, b string) int { return strings.Compare(b, a) }) // what is in one comes first
	for _, p := range folders {
		info := o.made[p]
		t := when(info.ModTime())
		if err := errors.Join(os.Chmod(o.upper(p), info.Mode()), os.Chtimes(o.upper(p), t, t)); err != nil {
			return err
		}
	}
	o.retimed = o.job.Inputs.Len() > 0
	return nil
}

func (o *overlay) retimeOne(e tree.Entry, when func(time.Time) time.Time) error {
	name := filepath.FromSlash(e.Path)
	info, err := o.root.Lstat(name)
	if err != nil {
		return &executor.InputChangedError{Path: e.Path, Err: err}
	}
	if err := o.copyFolder(path.Dir(e.Path), o.made); err != nil {
		return err
	}
	to := o.upper(e.Path)
	t := when(info.ModTime())
	switch {
	case info.IsDir():
		return o.copyFolder(e.Path, o.made)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := o.root.Readlink(name)
		if err == nil {
			err = os.Symlink(target, to)
		}
		if err == nil {
			err = o.chown(to, info)
		}
		if err != nil {
			return err
		}
		at := unix.NsecToTimespec(t.UnixNano())
		return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	case !info.Mode().IsRegular():
		return nil
	}
	if err := o.copyFile(name, to); err != nil {
		return err
	}
	if err := o.chown(to, info); err != nil {
		return err
	}
	return errors.Join(os.Chmod(to, info.Mode()), os.Chtimes(to, t, t))
}

func (o *overlay) chown(to string, info fs.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	stat := statOf(info)
	return os.Lchown(to, int(stat.Uid), int(stat.Gid))
}

func (o *overlay) copyFile(name, to string) error {
	from, err := o.root.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateDir)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from) // which shares blocks where the file system can
	return errors.Join(err, f.Close())
}
