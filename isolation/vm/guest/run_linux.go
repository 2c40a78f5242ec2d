// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/pressure"
)

const cgroup = "/cgroup/step"

// Descriptors of the second call, after the three that every program has.
const (
	orderFile  = 3 // the order comes in
	statusFile = 4 // why the command could not be started goes out; closed by its start
	seedFile   = 5 // who asks for random numbers goes out, where there is a seed
)

// outcome is how the command ended, or why there was none.
type outcome struct {
	exit byte
	why  string // empty for a command that ran
	// starved says that something of the step was killed for want of memory.
	starved bool
	// crowded says that the step was to have more processes than its limit.
	crowded bool
}

// run starts the command and waits until everything that it started has ended
// and all that it printed was sent.
func (o Order) run(control *conn) (outcome, error) {
	files, err := openPipes()
	if err != nil {
		return outcome{}, err
	}
	group, err := o.makeCgroup()
	if err != nil {
		return outcome{}, err
	}
	watch, err := o.watchMemory()
	if err != nil {
		return outcome{}, err
	}
	theirs := []*os.File{files.null, files.stdout.in, files.stderr.in, files.order.out, files.status.in}
	if o.Seed != "" {
		socket, err := answerRandom(o.Seed)
		if err != nil {
			return outcome{}, err
		}
		defer socket.Close()
		theirs = append(theirs, socket)
	}
	process, err := os.StartProcess("/proc/self/exe", []string{"attest-guest", stepArg}, &os.ProcAttr{
		Dir:   "/",
		Files: theirs,
		Sys: &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
			Setsid:      true,
			UseCgroupFD: true,
			CgroupFD:    int(group.Fd()),
		},
	})
	if err != nil {
		return outcome{}, fmt.Errorf("starting the command's process: %w", err)
	}
	files.closeTheirs()
	if err := json.NewEncoder(files.order.in).Encode(o); err != nil {
		return outcome{}, fmt.Errorf("handing on the order: %w", err)
	}
	files.order.in.Close()
	said, err := io.ReadAll(io.LimitReader(files.status.out, maxFrame-1))
	if err != nil {
		return outcome{}, err
	}
	if len(said) > 0 {
		_, _ = process.Wait()
		return readStatus(said)
	}
	if err := control.send(KindRuns, nil); err != nil {
		return outcome{}, err
	}
	end, err := files.wait(control, process)
	end.starved = watch.Stop() || pressure.Killed(cgroup+"/memory.events")
	end.crowded = refused(cgroup + "/pids.events")
	return end, err
}

// refused reads a cgroup's count of processes that it was refused.
func refused(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.HasPrefix(string(text), "max ") && string(text) != "max 0\n"
}

// wait copies the command's output and waits for its end.
func (p *pipes) wait(control *conn, process *os.Process) (outcome, error) {
	copied := make(chan error, 2)
	go func() { copied <- control.copyOut(KindStdout, p.stdout.out) }()
	go func() { copied <- control.copyOut(KindStderr, p.stderr.out) }()
	state, err := process.Wait()
	err = errors.Join(err, <-copied, <-copied)
	if err != nil {
		return outcome{}, err
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return outcome{exit: byte(128 + int(status.Signal()))}, nil
	}
	return outcome{exit: byte(state.ExitCode())}, nil
}

// makeCgroup makes the cgroup that bounds the step within the machine.
func (o Order) makeCgroup() (*os.File, error) {
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		return nil, err
	}
	limits := map[string]int64{"memory.max": o.Memory, "pids.max": int64(o.PIDs)}
	for file, limit := range limits {
		if limit == 0 {
			continue
		}
		controller, _, _ := strings.Cut(file, ".")
		err := os.WriteFile("/cgroup/cgroup.subtree_control", []byte("+"+controller), 0)
		if err == nil {
			err = os.WriteFile(cgroup+"/"+file, strconv.AppendInt(nil, limit, 10), 0)
		}
		if err != nil {
			return nil, fmt.Errorf("limiting the step by %s: %w", file, err)
		}
	}
	return os.Open(cgroup)
}

// watchMemory sees to it that the step ends when it fills its memory. The watch ends
// with the machine, if not before.
func (o Order) watchMemory() (*pressure.Watcher, error) {
	if o.Memory == 0 {
		return nil, nil //nolint:nilnil // nothing is to be watched
	}
	const most = 90 // percent
	return pressure.Watch(pressure.Group{Pressure: cgroup, Processes: cgroup, Full: func() bool {
		return pressure.Stat(cgroup, "anon")*100 >= o.Memory*most
	}})
}

// pipe is one pipe: what is written to in comes out.
type pipe struct{ out, in *os.File }

type pipes struct {
	null                          *os.File
	stdout, stderr, order, status pipe
}

func openPipes() (*pipes, error) {
	p := &pipes{}
	var err error
	if p.null, err = os.OpenFile(os.DevNull, os.O_RDONLY, 0); err != nil {
		return nil, err
	}
	for _, one := range []*pipe{&p.stdout, &p.stderr, &p.order, &p.status} {
		if one.out, one.in, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// closeTheirs closes the ends that the command's process has.
func (p *pipes) closeTheirs() {
	for _, f := range []*os.File{p.null, p.stdout.in, p.stderr.in, p.order.out, p.status.in} {
		f.Close()
	}
}

// readStatus reads what the second call said when it did not become the
// command.
func readStatus(said []byte) (outcome, error) {
	if len(said) < 2 {
		return outcome{}, errors.New("starting the command: it is not said why not")
	}
	if said[0] == 0 {
		return outcome{}, errors.New(string(said[1:]))
	}
	return outcome{exit: said[0], why: string(said[1:])}, nil
}
