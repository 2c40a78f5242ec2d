// SPDX-License-Identifier: Apache-2.0

// Package process runs a step as a process of this host, in the project's
// folder and with the host's tools.
//
// Start with [New]. On Linux every step gets a small init of its own, started by
// a keeper that all steps of an [Executor] have in common; package stepinit has
// both. They are a program, cmd/attest-init. Where that is not installed, the
// program that uses this package is started again in its stead, and must call
// [Main] first thing when [IsInit] says so.
//
// What a step costs besides its command is the start of an init written in Go, the
// arranging of what it sees, and the making and taking away of its namespaces;
// BenchmarkStep measures it.
//
// # What a step gets
//
// A clean environment, an empty stdin, a session without terminal, umask 022.
// When its command ends, whatever it started ends with it: sessions of their
// own and double forks do not matter, because the step lives in a PID namespace
// whose init goes away. Outputs from earlier are out of its sight.
//
// # What a step writes
//
// On Linux a step sees the project at its own path, and writes to an overlay of
// it. When it has succeeded, its outputs are taken out of that; what else it
// wrote, changed or removed is named in the outcome, and goes away. Nothing that
// it does is seen by the steps beside it, or in the project, before it has
// ended; when it fails, or attest is killed, the project is as it was.
//
// The rest of the machine is closed to writing, but for /tmp and /var/tmp, which
// every step has of its own, and the home of the user. What is written there goes
// away too, but for the folders in which tools keep what they can make again: see
// home.go. Builds go on finding their settings and filling their caches, and no
// step changes what a shell or another program will run later. A step that has
// to write elsewhere names the folder as one of its caches.
//
// Under Job.Strict the step sees of the project its inputs and nothing else, and
// its home is empty and its own, caches included. What is put in the project by
// others while it runs, and was not there before, it may see.
//
// Where no overlay is to be had, a step writes to the project itself, and to the
// machine as its user may. Outputs from earlier are then moved aside before the
// command runs; see [PutBack].
//
// # What it is handed
//
// Secrets are variables of its environment, or files: mounted for this step alone,
// read-only, of its user and mode 0400, from memory that is never swapped out.
// Where nothing stands at a file's path, its folder is replaced for the step by one
// in memory in which all that stands there is mounted. Where no overlay is to be
// had, a job with files is refused.
//
// # What is found out about it
//
// The files of the project that a step reads without declaring them, and the
// programs that it executes, are in the outcome: as fanotify tells them, where this
// program may ask it, else as the step names them in system calls, of which
// seccomp tells. The former tells also which folders it lists. Job.Trace has seccomp tell of everything that the step looks for,
// found or not. The controls say which it was; see SECURITY.md for what none of
// them tells.
//
// # Its world
//
// A job that is deterministic, and the second run of one that is to be
// reproducible, see another world: host name, umask, one processor, the times of
// inputs, the order in which folders of the project list files, the numbers of
// processes; a second run finds the project at another path, and at its own. The
// outcome names what could be had. The clock is the machine's.
//
// # What is out of its reach
//
// The project's .attest, what [Options.Hide] lists, and the files in which
// programs keep credentials (credentials_linux.go): in the step's mount namespace an
// empty folder stands in their place, or /dev/null, at every path by which a
// mount shows them. The mounts belong to a user namespace in which the command
// lacks the capabilities to take them away or to look into a process that could;
// in a user namespace that it makes itself they are locked. This holds for root
// as for others. Sockets of programs that start others on request (service
// managers, container engines) are hidden too: through them a step would act
// from outside. A step of root in addition gets a read-only /dev without disks,
// and reads the kernel's settings without changing them. What is mounted while a
// run goes on is not seen by its steps. What the step may still do, as its user,
// is read the machine's files, talk over its network unless that is none, and
// fill the caches of later builds: use a container for a step that is not trusted
// with that.
//
// User namespaces have a price. Root keeps its files and may change owners, but
// has no power over the host's network or devices and listens on no port below
// 1024. Another user sees every owner but itself as nobody, and gains nothing
// from setuid programs.
//
// Where the kernel refuses a namespace, the steps run with what is left; the
// outcome's controls name what was in force. Steps after the first one get no
// less than it did. [ControlKeysHidden] is the control whose absence a user
// should hear of.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// The controls that an outcome of this level can name.
const (
	// ControlKeysHidden says that .attest and Options.Hide were out of reach.
	ControlKeysHidden = "keys-hidden"
	// ControlCredentialsHidden says the same of what this machine holds of
	// well-known files with credentials.
	ControlCredentialsHidden = "credentials-hidden"

	// ControlDiskReserve says that the step would have been stopped before it had
	// filled the disk.
	ControlDiskReserve = "disk-reserve"

	ControlIPCNamespace   = "ipc-namespace"
	ControlMountNamespace = "mount-namespace"
	ControlPIDNamespace   = "pid-namespace"
	ControlUserNamespace  = "user-namespace"
	ControlUTSNamespace   = "uts-namespace"

	// ControlProjectOverlay says that the step wrote to an overlay of the
	// project, of which only its outputs were taken.
	ControlProjectOverlay = stepinit.ControlProject
	// ControlHostReadOnly says that the step could write to nothing outside of
	// the project but to /tmp, its home and the folders of caches.
	ControlHostReadOnly = stepinit.ControlHostLocked
	// ControlTmpPrivate says that /tmp and /var/tmp were the step's own.
	ControlTmpPrivate = stepinit.ControlTmpPrivate
	// ControlHomePrivate says that what the step wrote to its home, outside of
	// the folders of caches, went away with the step.
	ControlHomePrivate = stepinit.ControlHomePrivate
	// ControlNoNetwork says that there was no network but the loopback device.
	ControlNoNetwork = stepinit.ControlNoNetwork
	// ControlNoNewPrivileges says that no program gave the step more rights.
	ControlNoNewPrivileges = stepinit.ControlNoNewPrivs
	// ControlLandlockScope begins the control which says that the step could reach no
	// socket without a place in the file system, and signal no process, outside of
	// it; ControlLandlockFiles the one which says that a step that worked in the
	// project itself could create, write and remove files there, in /tmp, and in
	// the folders of caches alone. The version of the kernel's Landlock follows.
	ControlLandlockScope = stepinit.ControlLandlockScope
	ControlLandlockFiles = stepinit.ControlLandlockFiles
	// ControlReadsTraced says that the outcome names every file of the project
	// that the step opened without declaring it, and every program that it
	// executed, unless it did so in a mount namespace that it had made.
	ControlReadsTraced = "reads-traced"
	// ControlOpensTraced says that, as far as the step did not deceive, the outcome
	// names what it opened and executed, as with ControlReadsTraced: it is what
	// users other than root have.
	ControlOpensTraced = "opens-traced"
	// ControlLookupsTraced says that, as far as the step did not deceive, the
	// outcome names every file of the project that it looked for and that was not
	// there, and nothing was done in ways that cannot be seen.
	ControlLookupsTraced = "lookups-traced"

	// ControlCPUsLimit, ControlMemoryLimit and ControlPIDsLimit say that a
	// control group kept the whole step to the limit.
	ControlCPUsLimit   = "cpus-limit"
	ControlMemoryLimit = "memory-limit"
	ControlPIDsLimit   = "pids-limit"
	// ControlCPUsAffinity says that the step was started on as many processors;
	// it could have asked for others.
	ControlCPUsAffinity = "cpus-affinity"
	// ControlMemoryEach says that each process of the step was kept to the
	// limit, and ControlPIDsUser that all steps together were kept to about it.
	ControlMemoryEach    = "memory-limit-each"
	ControlPIDsUser      = "pids-limit-user"
	ControlFileSizeLimit = "file-size-limit"
)

const (
	engine      = "host"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	privateDir = 0o700
	scriptFile = 0o700

	// stopLimit is how long a step's init may take for stopping the command.
	stopLimit = 750 * time.Millisecond
	// heldOpenLimit bounds the wait for the end of stdout and stderr after
	// every process of the step is gone: one outside may have been handed them.
	heldOpenLimit = 10 * time.Second
	// drainLimit is heldOpenLimit for a command that was stopped.
	drainLimit = 100 * time.Millisecond
)

// Options say what the steps of an Executor get and do not get.
type Options struct {
	// Environ is the caller's environment, as os.Environ has it. PATH, HOME
	// and USER of a step come from it; what it lacks is taken from the system.
	Environ []string
	// Hide lists absolute paths of files and folders that no step may reach,
	// besides the project's .attest. One that is not there is made, as an
	// empty folder, so that no step can make it.
	Hide []string
	// Init is the absolute path of the program cmd/attest-init. Where it is
	// empty, this program is started again in its stead, for every step; it
	// must then call [Main], and the larger it is the longer that takes.
	Init string
}

// Executor runs steps as processes of this host. It is safe for concurrent use.
// [Executor.Close] ends what it started; so does the end of this program,
// however it comes.
type Executor struct {
	options Options
	keepers keepers
	homes   homes
}

var _ executor.Executor = (*Executor)(nil)

// New returns an Executor.
func New(o Options) *Executor { return &Executor{options: o} }

// IsInit reports whether this program was started to look after steps and must
// call [Main] and nothing else. args are those of the program, os.Args.
func IsInit(args []string) bool { return stepinit.Is(args) }

// errTimeout is the cause that ends a command which ran too long.
var errTimeout = errors.New("the command ran too long")

// Run implements [executor.Executor].
func (e *Executor) Run(ctx context.Context, job executor.Job, streams executor.Streams) (executor.Outcome, error) {
	if err := context.Cause(ctx); err != nil {
		return executor.Outcome{}, err
	}
	if err := job.RefuseBeyond(pipeline.Process, abilities()...); err != nil {
		return executor.Outcome{}, err
	}
	// A program that does not call Main would start itself again without end.
	if IsInit(os.Args) {
		return executor.Outcome{}, errors.New("this program runs steps and does not call process.Main")
	}
	root, err := os.OpenRoot(job.Root)
	if err != nil {
		return executor.Outcome{}, fmt.Errorf("opening the project: %w", err)
	}
	defer root.Close()

	command, err := e.prepare(root, job)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer command.cleanUp()

	outcome, err := e.start(ctx, root, job, command, streams)
	if err != nil {
		return executor.Outcome{}, err
	}
	return outcome, nil
}

func running(streams executor.Streams) {
	if streams.Progress != nil {
		streams.Progress(executor.Progress{Doing: executor.Running})
	}
}

// command is what an init is asked to run.
type command struct {
	name string // for people
	argv []string
	env  []string
	dir  string
	hide []string
	// script is what argv runs where that is empty.
	script string
	temp   string // folder to remove afterwards, or empty
}

func (c *command) cleanUp() {
	if c.temp != "" {
		_ = os.RemoveAll(c.temp) // a stray file in the temporary folder is all that is lost
	}
}

// checkPlace refuses a project in a folder of which every step has its own.
func checkPlace(project string) error {
	for _, dir := range []string{"/dev", "/proc"} {
		if strings.HasPrefix(project, dir+"/") {
			return &executor.HintedError{
				Err:   fmt.Errorf("%w: the project lies in %s, of which a process step has its own", executor.ErrUnavailable, dir),
				Hints: []string{"move the project, for instance to a tmpfs that is mounted elsewhere, or give the step an image"},
			}
		}
	}
	return nil
}

func (e *Executor) prepare(root *os.Root, job executor.Job) (*command, error) {
	if err := checkPlace(job.Root); err != nil {
		return nil, err
	}
	// Root.MkdirAll refuses a path that leads out of the project.
	if err := root.MkdirAll(filepath.FromSlash(job.WorkingDir), 0o755); err != nil {
		return nil, fmt.Errorf("making the working directory %s: %w", job.WorkingDir, err)
	}
	hide, err := e.hidden(job.Root)
	if err != nil {
		return nil, err
	}
	c := &command{
		env:  e.environment(variables(job)),
		dir:  filepath.Join(job.Root, filepath.FromSlash(job.WorkingDir)),
		hide: hide,
	}
	switch {
	case job.Command.Script != "":
		// Where the interpreter is missing, the kernel says so of the script.
		line, _, _ := strings.Cut(job.Command.Script, "\n")
		c.name, c.script = fmt.Sprintf("the script for %q", line), job.Command.Script
	case job.Command.Argv != nil:
		c.name, c.argv = "the command", job.Command.Argv
	default:
		c.name, c.argv = "the shell", []string{"/bin/sh", "-e", "-c", job.Command.Shell}
	}
	return c, nil
}

// hidden returns the paths that no step may reach, made where they were not.
func (e *Executor) hidden(project string) ([]string, error) {
	paths := append([]string{filepath.Join(project, ".attest")}, e.options.Hide...)
	for i, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			// Where this user may make nothing, the step's may not either.
			if err := os.MkdirAll(path, privateDir); err != nil && !errors.Is(err, os.ErrPermission) {
				return nil, fmt.Errorf("making %s, which is to be hidden: %w", path, err)
			}
		}
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("hiding %s: %w", path, err)
		}
		paths[i] = real
	}
	return paths, nil
}

// words returns the command's words. A script is written to a file of its own
// outside the project: into the folder that the step has for such, or into one
// that is removed when the step has ended.
func (c *command) words(at place) ([]string, error) {
	if c.script == "" {
		return c.argv, nil
	}
	name, seen, err := at.script()
	if name == "" && err == nil {
		c.temp, err = os.MkdirTemp("", "attest-step-")
		name = filepath.Join(c.temp, "script")
		seen = name
	}
	if err == nil {
		err = writeExecutable(name, c.script)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the script: %w", err)
	}
	return []string{seen}, nil
}
