// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

const (
	// kvmTimeout is how long a machine may take to boot with KVM before KVM
	// counts as broken: some hosts have it and hang when it is used.
	kvmTimeout = 10 * time.Second
	// bootTimeout is for an emulated machine, which takes 4 seconds on a host
	// that has time.
	bootTimeout = 2 * time.Minute
)

var (
	errBoot  = errors.New("the machine did not boot in time")
	errEnded = errors.New("the machine ended before the command did")
)

// Error says that a machine could not do its work.
type Error struct {
	Err  error
	Log  string // what kernel and qemu said last, or when the kernel gave up
	Path string // of a file with all that they said; empty where there is none
}

// Error returns the complaint and what matters of the log.
func (e *Error) Error() string {
	text := fmt.Sprintf("running a virtual machine: %v", e.Err)
	if e.Log != "" {
		text += "; its log says:\n" + e.Log
	}
	if e.Path != "" {
		text += "\nall of it is in " + e.Path
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Host makes machines on this host. Safe for concurrent use; Close it when no
// machine runs any more.
type Host struct {
	dir     string
	logs    string
	options Options
	log     *slog.Logger

	folders folders // of this host that machines write to

	mu     sync.Mutex
	stages map[string]*stage // by the kernel's path
	made   int               // of stages, for their names

	probe func() string // which accelerator works; runs once
	tsc   func() uint64
}

// NewHost returns a Host that keeps what it needs in dir, which must be its
// alone; what a killed process left there is removed. The logs of the last eight
// machines that failed are kept in the folder logs. log may be nil.
func NewHost(dir, logs string, o Options, log *slog.Logger) *Host {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Host{
		dir: dir, logs: logs, options: o, log: log,
		stages: map[string]*stage{}, tsc: sync.OnceValue(tscKHz),
	}
}

// Close removes what the Host has put in its folder.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	for _, s := range h.stages {
		err = errors.Join(err, s.close())
	}
	clear(h.stages)
	return err
}

// Run is one command to run in a machine of its own.
type Run struct {
	// Spec is what an OCI runtime would be told. Its root is a folder in which
	// nothing else runs meanwhile.
	Spec    *specs.Spec
	Network bool // with a network device that reaches what this host reaches
	// Namespace is the path of the network namespace whose reach the device has
	// instead; empty is this host's.
	Namespace string
	Settings  Settings

	Stdout, Stderr io.Writer
	// Started, which may be nil, is told when the command begins.
	Started func(Facts)
	// Met, which may be nil, is told before the end which limits the step ran into, by
	// their names in attest.yaml, as far as the machine says so: something of it was
	// killed for want of memory, or it was to have more processes.
	Met func(limit string)
}

// Run boots a machine and waits for the command's end; before, it waits for others
// that write to a folder which this one may write to. A command that could not
// be started ends with the exit code that a shell would have, and its error
// text on Stderr. When ctx ends, so does the machine, and the error is ctx's
// cause. An [*Error] means that the machine failed. Nothing is left of a
// machine when Run returns, and every file of the step is written.
func (h *Host) Run(ctx context.Context, r Run) (exitCode int, err error) {
	r.Settings = r.Settings.withDefaults()
	stage, err := h.stage(r.Settings.Kernel)
	if err != nil {
		return 0, err
	}
	hw := h.hardware(ctx, stage, r)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	o, mounts, err := order(r.Spec, r.Settings)
	if err != nil {
		return 0, err
	}
	if hw.seeded {
		o.Seed = r.Settings.Seed
	}
	if o.Network = r.Network; r.Network && r.Namespace == "" {
		if err := stage.showNameServers(); err != nil {
			return 0, err
		}
	}
	leave, err := h.folders.enter(ctx, mounts)
	if err != nil {
		return 0, err
	}
	defer leave()
	shared, err := compose(h.dir, r.Spec.Root, o, mounts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.close()) }()
	o.Shared = shared.below()
	m, err := boot(stage, hw, shared.dir)
	if err != nil {
		return 0, err
	}
	defer m.close()
	m.logs = h.logs
	return m.run(ctx, o, r, Facts{
		QEMU: stage.version, Accelerator: hw.accelerator, Kernel: stage.parts.Kernel.Version, Seeded: hw.seeded,
	})
}

// hardware says what machine a command gets.
func (h *Host) hardware(ctx context.Context, s *stage, r Run) hardware {
	return hardware{
		accelerator: h.accelerator(ctx, s), cpus: r.Settings.CPUs, memory: r.Settings.Memory,
		network: r.Network, namespace: r.Namespace, clock: r.Settings.Clock, tscKHz: h.tsc(),
		seeded: r.Settings.Seed != "" && s.devices, kernel: s.parts.Kernel.Version,
	}
}

// stage returns the stage for a kernel, which it makes at the first call.
func (h *Host) stage(kernel string) (*stage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.stages[kernel]; ok {
		return s, nil
	}
	o := h.options
	o.Kernel = kernel
	parts, err := Find(o)
	if err != nil {
		return nil, err
	}
	if h.made == 0 {
		// Whatever is there has lost its mounts with the process that made it.
		if err := os.RemoveAll(h.dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, err
	}
	h.made++
	s, err := newStage(filepath.Join(h.dir, "stage-"+strconv.Itoa(h.made)), parts)
	if err != nil {
		return nil, fmt.Errorf("preparing virtual machines: %w", err)
	}
	h.stages[kernel] = s
	return s, nil
}

// accelerator says what machines run on: KVM if a machine has booted with it in
// time, which is tried once.
func (h *Host) accelerator(ctx context.Context, s *stage) string {
	h.mu.Lock()
	if h.probe == nil {
		h.probe = sync.OnceValue(func() string { return h.tryKVM(context.WithoutCancel(ctx), s) })
	}
	probe := h.probe
	h.mu.Unlock()
	return probe()
}

func (h *Host) tryKVM(ctx context.Context, s *stage) string {
	if _, err := os.Stat(kvmDevice); err != nil {
		return TCG
	}
	ctx, cancel := context.WithTimeoutCause(ctx, kvmTimeout, errBoot)
	defer cancel()
	m, err := boot(s, hardware{accelerator: KVM, cpus: 1, memory: machineMemory}, "")
	if err == nil {
		defer m.close()
		err = m.await(ctx, kvmTimeout)
	}
	if err != nil {
		h.log.Warn("virtual machines are emulated", "why", err)
		return TCG
	}
	return KVM
}

// await waits until the guest says that it is ready.
func (m *machine) await(ctx context.Context, limit time.Duration) error {
	if err := m.control.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { m.stop() })()
	kind, payload, err := guest.ReadFrame(m.control)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return m.explain(ctx, errBoot)
	case errors.Is(err, io.EOF):
		return m.explain(ctx, errEnded)
	case err != nil:
		return m.explain(ctx, err)
	case kind == guest.KindFailed:
		return m.explain(ctx, errors.New(string(payload)))
	case kind != guest.KindReady:
		return m.explain(ctx, fmt.Errorf("it said %q first", byte(kind)))
	}
	return m.control.SetReadDeadline(time.Time{})
}

// run has a machine run the order.
func (m *machine) run(ctx context.Context, o guest.Order, r Run, facts Facts) (exitCode int, err error) {
	if err := m.await(ctx, bootTimeout); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { m.stop() })()
	if o.Clock = r.Settings.Clock * int64(time.Second); o.Clock == 0 {
		o.Clock = time.Now().UnixNano()
	}
	if err := o.Write(m.control); err != nil {
		return 0, m.explain(ctx, err)
	}
	for {
		kind, payload, err := guest.ReadFrame(m.control)
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		if err != nil {
			return 0, m.explain(ctx, err)
		}
		switch kind {
		case guest.KindRuns:
			if r.Started != nil {
				r.Started(facts)
				r.Started = nil
			}
		case guest.KindStarved, guest.KindCrowded:
			limit := pipeline.LimitMemory
			if kind == guest.KindCrowded {
				limit = pipeline.LimitPIDs
			}
			if r.Met != nil {
				r.Met(limit)
			}
		case guest.KindStdout:
			_, err = r.Stdout.Write(payload)
		case guest.KindStderr:
			_, err = r.Stderr.Write(payload)
		case guest.KindExit, guest.KindNotRun:
			if len(payload) == 0 || ctx.Err() != nil {
				return 0, m.explain(ctx, errors.New("it said no exit code"))
			}
			if kind == guest.KindNotRun {
				_, err = fmt.Fprintf(r.Stderr, "%s\n", payload[1:])
			}
			return int(payload[0]), err
		case guest.KindFailed:
			return 0, m.explain(ctx, errors.New(string(payload)))
		default:
			err = fmt.Errorf("it said %q", byte(kind))
		}
		if err != nil {
			return 0, m.explain(ctx, err)
		}
	}
}
