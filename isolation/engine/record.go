// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/gitstate"
)

// hostEngine is how processes of this host name what ran them; a receipt names
// only engines that came into it besides.
const hostEngine = "host"

// record sums the walks up.
func (r *run) record(ctx context.Context, started time.Time, walks []*walk) (*Record, error) {
	rec := &Record{LogDir: r.space.used.logs, Receipt: &receipt.Receipt{
		Schema:       receipt.Schema,
		PipelineHash: r.Plan.Pipeline.Digest,
		Timestamp:    started.UTC().Truncate(time.Second),
		Version:      r.Version,
		Pipeline:     receipt.Pipeline{Name: r.Plan.Pipeline.Name, File: r.PipelineFile},
		Source:       r.source.get(ctx, gitstate.Remember), // the last thing to wait for
		Environment:  receipt.Environment{OS: runtime.GOOS, Arch: runtime.GOARCH, Engine: engines(walks)},
	}}
	var errs []error
	for _, w := range walks {
		rec.Receipt.Steps = append(rec.Receipt.Steps, w.facts)
		rec.Results = append(rec.Results, w.result)
		if w.err != nil {
			errs = append(errs, w.err)
		}
	}
	rec.Receipt.Status = overall(ctx, walks)
	if rec.Receipt.Status == receipt.Interrupted {
		errs = append(errs, fmt.Errorf("run interrupted: %w", context.Cause(ctx)))
	}
	rec.Receipt.Duration = since(started, r.Now()).Round(time.Millisecond)
	return rec, errors.Join(errs...)
}

// overall is the run's status: interrupted when the end of ctx kept a step
// from running or from ending, else failed when a step failed.
func overall(ctx context.Context, walks []*walk) receipt.Status {
	status := receipt.Succeeded
	for _, w := range walks {
		switch s := w.facts.Status; {
		case s == receipt.Interrupted, s == receipt.Skipped && ctx.Err() != nil:
			return receipt.Interrupted
		case s != receipt.Succeeded:
			status = receipt.Failed
		}
	}
	return status
}

// engines names every engine once, in order of the alphabet.
func engines(walks []*walk) string {
	var names []string
	for _, w := range walks {
		if w.engine != "" && w.engine != hostEngine {
			names = append(names, w.engine)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// cover is walk.cover for all, on all processors.
func (r *run) cover(ctx context.Context, walks []*walk) {
	c := covering{newFolders(r.root), sync.OnceValue(r.files.digests.Now)}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, w := range walks {
		group.Go(func() error { w.cover(ctx, c); return nil })
	}
	_ = group.Wait() // there is none
}

// cover states inputs and outputs with as few entries as say exactly which
// files they are. It comes when the run is over, since the files that later
// steps left in a folder decide whether the folder can stand for its files.
func (w *walk) cover(ctx context.Context, c covering) {
	err := w.coverBoth(ctx, c)
	if err == nil {
		return
	}
	// A receipt that cannot name what happened does not say that it went well.
	w.facts.Inputs, w.facts.Outputs, w.result = nil, nil, Result{Log: w.result.Log}
	if w.facts.Status == receipt.Succeeded {
		err = fmt.Errorf("naming files for the receipt: %w", err)
		w.err = w.asStepError(err)
		w.facts.Status, w.facts.Error = receipt.Failed, w.oneLine(err)
	}
}

func (w *walk) coverBoth(ctx context.Context, c covering) (err error) {
	if w.inputs != nil {
		inputs := func() (tree.Tree, error) { return w.inputs.Tree(ctx) }
		if w.facts.Inputs, err = c.cover(w.inputs, inputs, receipt.Cover); err != nil {
			return err
		}
	}
	if w.outputs != nil {
		outputs := func() (tree.Tree, error) { return w.result.Outputs, nil }
		w.facts.Outputs, err = c.cover(w.outputs, outputs, receipt.CoverOutputs)
	} else {
		w.facts.Outputs, err = receipt.CoverOutputs(w.result.Outputs, c.folders.list)
	}
	return err
}

// folders reads folders of the project, each once. Safe for concurrent use.
type folders struct {
	root *os.Root

	mu    sync.Mutex
	known map[string][]string
}

func newFolders(root *os.Root) *folders { return &folders{root: root, known: map[string][]string{}} }

// list returns the names in a folder, for [receipt.Cover].
func (f *folders) list(dir string) ([]string, error) {
	f.mu.Lock()
	names, ok := f.known[dir]
	f.mu.Unlock()
	if ok {
		return names, nil
	}
	names, err := f.read(dir)
	if err == nil {
		f.mu.Lock()
		f.known[dir] = names
		f.mu.Unlock()
	}
	return names, err
}

func (f *folders) read(dir string) ([]string, error) {
	name := filepath.FromSlash(strings.TrimSuffix(dir, "/"))
	info, err := f.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%q is no folder any more: %w", dir, fs.ErrNotExist)
	}
	open, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	return open.Readdirnames(-1)
}

func allUTF8(t tree.Tree) bool {
	for _, e := range t.Entries() {
		if !utf8.ValidString(e.Path) {
			return false
		}
	}
	return true
}
