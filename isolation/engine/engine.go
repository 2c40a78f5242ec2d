// SPDX-License-Identifier: Apache-2.0

// Package engine runs a Plan: each step as soon as what it needs has
// succeeded, from its inputs to its landed outputs, and yields the facts of
// the run's receipt.
//
// Start with [Run]; step.go is the walk of one step, phase by phase.
//
// # What is promised
//
// One run at a time is at work in a project; a second one waits. No step
// starts before everything that it needs has landed. After a step failed no
// further step starts, and those that run are waited for, as make does; with
// KeepGoing every step runs whose needs succeeded. When the context ends,
// running steps are stopped, and the record says truthfully how far each came.
// Outputs appear in the project complete or not at all; what a kill left
// behind in .attest/tmp, the next run removes.
//
// A step whose result is in the cache is not run: its outputs are put back, or
// left untouched where they are in place. What is kept, and when, is said in
// keep.go; what counts as in place, in recall.go.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/library"
)

// Options say what to run and with what.
type Options struct {
	// Plan is what to run. Required.
	Plan *plan.Plan
	// Root is the absolute path of the project's folder. Required.
	Root string
	// PipelineFile is the path of the pipeline's file relative to Root,
	// slash-separated; empty means the base name of the file that was read.
	PipelineFile string
	// Executors run the steps; every level that the plan asks for must be there.
	Executors map[pipeline.Isolation]executor.Executor
	// Images resolves an image as attest.yaml names it to the same image by
	// digest, "name@sha256:...". It is asked once for each step with an image,
	// possibly for several at once. Required when a step has an image.
	Images func(ctx context.Context, ref string) (string, error)
	// Jobs is how many steps run at once; 0 means one more than there are processors:
	// before and after its command, a step leaves some of one idle.
	Jobs int
	// KeepGoing goes on, after a step failed, with those that do not need it.
	KeepGoing bool
	// Environ is the caller's environment, as os.Environ has it: where
	// pass_env values come from. Nothing else of it reaches a step from here.
	Environ []string
	// Sink receives the run's events; nil discards them.
	Sink event.Sink
	// Now is the clock; nil means the system's.
	Now func() time.Time
	// Version is attest's own, for the receipt.
	Version string
	// LogDir is the absolute path of the folder under which every run makes
	// one for the logs of its steps; empty means .attest/logs in Root.
	LogDir string
	// CacheDir is the absolute path of the folder of the cache, which projects
	// may share; empty means .attest/cache in Root. No step may reach it.
	CacheDir string
	// NoCache runs every step and keeps no result, whatever the plan says.
	NoCache bool
	// ExpectCached fails every step that would have to run, with
	// [ErrNotCached], and runs none.
	ExpectCached bool
	// ReplayLogs emits what a step printed when its result was made, where
	// that result is used again.
	ReplayLogs bool
	// Strict hides from steps what they did not declare, refuses what nobody
	// can vouch for, and makes what steps do besides an error.
	Strict bool
	// Trace has executors say what process steps looked for and did not find, and
	// what they declared and did not read. A result that was made without it is not
	// used. What was seen of a step that succeeded is kept: see [LastTrace].
	Trace bool
	// Diffoscope is the absolute path of the program of that name; empty for
	// none. It explains what differs when a step is run twice.
	Diffoscope string
	// Lock is what attest.lock has; nil where there is none. Steps run in the
	// images that it has, and nobody is asked what their names stand for.
	Lock *lock.Lock
	// Locked fails what is not as Lock has it: before anything runs where it is
	// an image, as soon as it is known where it is something fetched.
	Locked bool
	// Update asks anew for everything that a lock would hold: Lock must be nil,
	// and recorded steps are run whatever is kept of them. See [Record.NewLock].
	Update bool
	// Recorded are steps of a receipt by name. A step that is among them and is
	// not the same work, or leaves anything else than that, fails with
	// [ErrNotReproduced], and its outputs are not put in place.
	Recorded map[string]receipt.Step
	// Deterministic is what steps see in place of what differs from run to run;
	// nil for the world as it is.
	Deterministic *executor.Determinism
}

func (o Options) withDefaults() (Options, error) {
	if o.Plan == nil || !filepath.IsAbs(o.Root) {
		return o, errors.New("engine: Options need a Plan and an absolute Root")
	}
	for _, s := range o.Plan.Steps {
		if s.Image != "" && o.Images == nil {
			return o, errors.New("engine: Options need Images for a step with an image")
		}
	}
	if o.PipelineFile == "" {
		o.PipelineFile = path.Base(filepath.ToSlash(o.Plan.Pipeline.File.Name))
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0) + 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LogDir == "" {
		o.LogDir = filepath.Join(o.Root, stateDir, "logs")
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(o.Root, stateDir, "cache")
	}
	return o, nil
}

// Record is what a run came to.
type Record struct {
	Receipt *receipt.Receipt // unsigned
	// Results are what the steps saw and left, in planned order: one for each
	// of Receipt.Steps.
	Results []Result
	// LogDir is the absolute path of the folder with this run's logs; empty
	// where nothing ran.
	LogDir string
}

// Result is what one step saw and left.
type Result struct {
	inputs *fileset
	// Outputs are the files that it left in the project, with both digests;
	// empty where it did not succeed.
	Outputs tree.Tree
	// Log is the absolute path of its log; empty where nothing ran.
	Log string
}

// Inputs returns the files that the step was run with; none where it was not
// reached. The error is that of reading them, which a run that finds nothing to
// do leaves to whoever asks. It is not safe for concurrent use.
func (r Result) Inputs(ctx context.Context) (tree.Tree, error) {
	if r.inputs == nil {
		return tree.Tree{}, nil
	}
	return r.inputs.Tree(ctx)
}

// run is one run under way.
type run struct {
	Options
	root   *os.Root // the project
	events *event.Recorder
	space  *workspace
	files  *files
	keeper *keeper
	lander lander
	source *repository
	key    func() ([]byte, error) // of the hashes of secrets

	searches  searches
	libraries library.Finder

	mu      sync.Mutex
	outputs []landed // by place in the plan
}

// Run runs the plan and waits for it. The Record is nil only when the run
// could not begin at all: the project is out of reach, options are missing, or
// ctx ended while another run in the project was waited for.
//
// The error joins one [StepError] for each step that failed, in planned order
// (skipped steps have none), and, when ctx ended the run, context.Cause(ctx).
// It is nil exactly when the receipt's status is succeeded.
func Run(ctx context.Context, o Options) (*Record, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Locked {
		if err := CheckLocked(o.Plan, o.Lock); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Plan.Steps {
		if o.Executors[s.Isolation] == nil {
			return nil, fmt.Errorf("%w: nothing runs steps with isolation %s", executor.ErrUnavailable, s.Isolation)
		}
	}
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &run{
		Options: o, root: root, key: secretKey(root),
		events:  event.NewRecorder(o.Sink, o.Now),
		outputs: make([]landed, len(o.Plan.Steps)),
	}
	return r.run(ctx)
}

func (r *run) run(ctx context.Context) (*Record, error) {
	started := r.Now()
	r.events.Record(event.RunStarted{Pipeline: r.Plan.Pipeline.Name, Steps: r.names(), Jobs: r.Jobs})
	space, err := openWorkspace(ctx, r.root, r.LogDir, started, func() {
		r.events.Record(event.Warning{Message: "another run is at work in this project; waiting for it to end"})
	})
	if err != nil {
		status := receipt.Failed
		if ctx.Err() != nil {
			status = receipt.Interrupted
		}
		r.events.Record(event.RunFinished{Status: string(status), Duration: since(started, r.Now())})
		return nil, err
	}
	r.space = space
	defer space.close()
	r.openCache()
	r.source = r.startSource(ctx)
	walks := r.schedule(ctx)
	r.keeper.close(ctx, walks)
	r.cover(context.WithoutCancel(ctx), walks)
	r.files.save(r.warn)
	record, err := r.record(ctx, started, walks)
	r.events.Record(event.RunFinished{
		Status:   string(record.Receipt.Status),
		Duration: record.Receipt.Duration,
	})
	return record, err
}

// openCache opens the cache, and remembers digests of files in it.
func (r *run) openCache() {
	var err error
	if r.keeper, err = newKeeper(r.Options, r.warn); err != nil {
		r.warn("going on without the cache: " + err.Error())
		r.CacheDir = filepath.Join(r.Root, stateDir, "cache")
	}
	r.files = newFiles(r.root, r.CacheDir)
}

func (r *run) warn(text string) { r.events.Record(event.Warning{Message: text}) }

func (r *run) names() []string {
	names := make([]string, len(r.Plan.Steps))
	for i, s := range r.Plan.Steps {
		names[i] = s.Name
	}
	return names
}

// landed is what a step has left in the project, and how that looks where it is
// known.
type landed struct {
	tree  tree.Tree
	found tree.Found
}

// landed returns what step i left.
func (r *run) landed(i int) landed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outputs[i]
}

func (r *run) setLanded(i int, l landed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outputs[i] = l
}

// since is never negative: a clock can be put back.
func since(start, end time.Time) time.Duration { return max(0, end.Sub(start)) }
