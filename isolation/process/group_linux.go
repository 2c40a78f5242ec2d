// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// period is the time over which the use of processors is counted.
const period = 100_000 // microseconds

// groupLimit is a limit that control groups know.
type groupLimit struct {
	controller, control string
	// v1 and v2 are the files of the two versions, and what is to be written.
	// Those that a kernel may not have are optional.
	v1, v2 []setting
	// events is the file that counts how often the limit was met, and the word
	// in it, of both versions.
	events [2]string
	word   string
}

type setting struct {
	file, value string
	optional    bool
}

func groupLimits(l pipeline.Limits) []groupLimit {
	var all []groupLimit
	if l.Memory > 0 {
		n := strconv.FormatInt(l.Memory, 10)
		all = append(all, groupLimit{
			controller: "memory", control: ControlMemoryLimit,
			v1:     []setting{{"memory.limit_in_bytes", n, false}, {"memory.memsw.limit_in_bytes", n, true}},
			v2:     []setting{{"memory.max", n, false}, {"memory.swap.max", "0", true}},
			events: [2]string{"memory.oom_control", "memory.events"}, word: "oom_kill",
		})
	}
	if l.PIDs > 0 {
		// A thread of the step's init is in a group of version 1.
		all = append(all, groupLimit{
			controller: "pids", control: ControlPIDsLimit,
			v1:     []setting{{"pids.max", strconv.Itoa(l.PIDs + 1), false}},
			v2:     []setting{{"pids.max", strconv.Itoa(l.PIDs), false}},
			events: [2]string{"pids.events", "pids.events"}, word: "max",
		})
	}
	if l.CPUs > 0 {
		quota := strconv.Itoa(l.CPUs * period)
		all = append(all, groupLimit{
			controller: "cpu", control: ControlCPUsLimit,
			v1: []setting{{"cpu.cfs_period_us", strconv.Itoa(period), false}, {"cpu.cfs_quota_us", quota, false}},
			v2: []setting{{"cpu.max", quota + " " + strconv.Itoa(period), false}},
		})
	}
	return all
}

// groups are the control groups of one step.
type groups struct {
	limits []groupLimit // those in force
	dirs   []string     // one for each of them, or one for all
	second bool         // they are of version 2
	files  []*os.File   // for the step's init
	kinds  []stepinit.GroupKind
}

// newGroups makes control groups for the limits, as far as this user may. Those
// that are in force are named by controls.
func (t *groupTree) newGroups(l pipeline.Limits) *groups {
	g := &groups{}
	wanted := groupLimits(l)
	if len(wanted) == 0 {
		return g
	}
	t.once.Do(func() {
		t.table = readHierarchies()
		t.table.sweep()
	})
	table, name := t.table, t.name()
	for _, limit := range wanted {
		if h, ok := table.first(limit.controller); ok {
			g.addFirst(h, name, limit)
		}
	}
	if len(g.limits) == 0 {
		g.addSecond(table, name, wanted)
	}
	return g
}

// addFirst makes a group of version 1, which is for one limit.
func (g *groups) addFirst(parent, name string, limit groupLimit) {
	dir := filepath.Join(parent, name)
	if os.Mkdir(dir, 0o755) != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
	if err != nil || !set(dir, limit.v1) {
		if f != nil {
			_ = f.Close()
		}
		_ = os.Remove(dir)
		return
	}
	g.dirs, g.limits = append(g.dirs, dir), append(g.limits, limit)
	g.files, g.kinds = append(g.files, f), append(g.kinds, stepinit.GroupTasks)
}

// addSecond makes a group of version 2 where one parent, the group of this program
// or one above it, has the controllers of all the limits; else it makes none.
func (g *groups) addSecond(table hierarchies, name string, wanted []groupLimit) {
	for parent := table.own; parent != "" && table.second != ""; parent = filepath.Dir(parent) {
		text, _ := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		enabled := strings.Fields(string(text))
		have := slices.DeleteFunc(slices.Clone(wanted), func(l groupLimit) bool { return !slices.Contains(enabled, l.controller) })
		if len(have) == len(wanted) && g.makeSecond(filepath.Join(parent, name), have) {
			return
		}
		if parent == table.second {
			return
		}
	}
}

func (g *groups) makeSecond(dir string, limits []groupLimit) bool {
	if os.Mkdir(dir, 0o755) != nil {
		return false
	}
	for _, limit := range limits {
		if !set(dir, limit.v2) {
			_ = os.Remove(dir)
			return false
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		_ = os.Remove(dir)
		return false
	}
	g.dirs, g.limits, g.second = []string{dir}, limits, true
	g.files, g.kinds = []*os.File{f}, []stepinit.GroupKind{stepinit.GroupFolder}
	return true
}

func set(dir string, settings []setting) bool {
	for _, s := range settings {
		f, err := os.OpenFile(filepath.Join(dir, s.file), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(s.value)
			err = errors.Join(err, f.Close())
		}
		if err != nil && !s.optional {
			return false
		}
	}
	return true
}

// has reports whether the limit that the control names is in force.
func (g *groups) has(control string) bool {
	return slices.ContainsFunc(g.limits, func(l groupLimit) bool { return l.control == control })
}

// met returns the controls whose limits the step ran into.
func (g *groups) met() []string {
	var all []string
	for i, limit := range g.limits {
		dir, file := g.dirs[0], limit.events[1]
		if !g.second {
			dir, file = g.dirs[i], limit.events[0]
		}
		text, _ := os.ReadFile(filepath.Join(dir, file))
		for line := range strings.Lines(string(text)) {
			if count, ok := strings.CutPrefix(strings.TrimSpace(line), limit.word+" "); ok && count != "0" {
				all = append(all, limit.control)
			}
		}
	}
	return all
}

// started is to be called when the init has its descriptors.
func (g *groups) started() {
	closeAll(g.files)
	g.files = nil
}

// close removes the groups, which the kernel holds on to until the last process
// in them is gone for good. One that outlived its init is killed.
func (g *groups) close() {
	g.started()
	for _, dir := range g.dirs {
		for range 200 {
			if err := os.Remove(dir); !errors.Is(err, unix.EBUSY) {
				break
			}
			killAll(dir)
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// killAll kills the processes of a group.
func killAll(dir string) {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for line := range strings.Lines(string(text)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// groupTree is where the control groups of a run's steps are made. What groups
// this program is in is found out once. Safe for concurrent use.
type groupTree struct {
	once  sync.Once
	table hierarchies
	made  atomic.Uint64
}

// name returns a name for the groups of one step.
func (t *groupTree) name() string {
	return fmt.Sprintf("attest-step-%d-%d", os.Getpid(), t.made.Add(1))
}

// hierarchies says where control groups are, and which of them this program is
// in.
type hierarchies struct {
	firsts      map[string]string // controller: folder of this program's group
	second, own string            // where version 2 is mounted, and the folder of this program's group
}

func (h hierarchies) first(controller string) (dir string, ok bool) {
	dir, ok = h.firsts[controller]
	return dir, ok
}

func readHierarchies() hierarchies {
	h := hierarchies{firsts: map[string]string{}}
	in, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return h
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return h
	}
	groups := map[string]string{} // controller, or "" for version 2: path
	for line := range strings.Lines(string(in)) {
		if fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(fields) == 3 {
			for controller := range strings.SplitSeq(fields[1], ",") {
				groups[controller] = fields[2]
			}
		}
	}
	for line := range strings.Lines(string(table)) {
		before, after, _ := strings.Cut(line, " - ")
		here, there := strings.Fields(before), strings.Fields(after)
		if len(here) < 5 || len(there) < 3 {
			continue
		}
		root, at := here[3], here[4]
		switch there[0] {
		case "cgroup":
			for controller := range strings.SplitSeq(there[2], ",") {
				if rest, ok := below(groups[controller], root); ok && groups[controller] != "" {
					h.firsts[controller] = join(at, rest)
				}
			}
		case "cgroup2":
			if rest, ok := below(groups[""], root); ok && groups[""] != "" {
				h.second, h.own = at, join(at, rest)
			}
		}
	}
	return h
}

// stale reports whether a group is of a program that is gone.
func stale(name string) bool {
	rest, ok := strings.CutPrefix(name, "attest-step-")
	pid, _, _ := strings.Cut(rest, "-")
	if n, err := strconv.Atoi(pid); !ok || err != nil || n <= 0 {
		return false
	}
	_, err := os.Lstat("/proc/" + pid)
	return errors.Is(err, fs.ErrNotExist)
}

// sweep removes groups that killed programs left where this one makes its own.
func (h hierarchies) sweep() {
	var parents []string
	for _, limit := range groupLimits(pipeline.Limits{Memory: 1, PIDs: 1, CPUs: 1}) {
		if dir, ok := h.first(limit.controller); ok {
			parents = append(parents, dir)
		}
	}
	for dir := h.own; dir != "" && h.second != ""; dir = filepath.Dir(dir) {
		parents = append(parents, dir)
		if dir == h.second {
			break
		}
	}
	for _, dir := range parents {
		items, _ := os.ReadDir(dir)
		for _, item := range items {
			if item.IsDir() && stale(item.Name()) {
				_ = os.Remove(filepath.Join(dir, item.Name()))
			}
		}
	}
}
