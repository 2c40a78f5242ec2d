// SPDX-License-Identifier: Apache-2.0

package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	gofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// outputs unpacks what the engine sends into the staging folder. The archive is
// the step's to fill: every name is taken relative to a handle on the folder,
// no link is followed out of it, and what is no file, folder or link is refused.
type outputs struct {
	staging  *os.Root
	patterns []pipeline.Pattern
	list     string // the name of the engine's report among the entries; empty for none
	report   *reporter
	recorder *recorder       // nil where the network is not recorded
	failed   func(err error) // told of the first error

	r      *io.PipeReader
	w      *io.PipeWriter
	mu     sync.Mutex
	first  error
	opened bool

	// folder is the last one that something was unpacked into, and in a handle on it:
	// what is in a folder comes together.
	folder string
	in     *os.Root

	folders []*tar.Header // their modes and times are set at the end
	count   int64
	written []byte // the engine's report
	listed  bool   // it came
}

func newOutputs(staging *os.Root, patterns []pipeline.Pattern, list string, recorder *recorder, report *reporter) *outputs {
	o := &outputs{staging: staging, patterns: patterns, list: list, recorder: recorder, report: report, failed: func(error) {}}
	o.r, o.w = io.Pipe()
	return o
}

// open is where the engine's archive goes; it is asked for once.
func (o *outputs) open(map[string]string) (io.WriteCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opened {
		return nil, errors.New("the outputs were sent twice")
	}
	o.opened = true
	return o.w, nil
}

var errAborted = errors.New("the run ended while its outputs came")

// end says that nothing comes any more: because all is there, or because the
// run ended otherwise.
func (o *outputs) end(complete bool) {
	if complete {
		_ = o.w.Close()
		return
	}
	_ = o.w.CloseWithError(errAborted)
}

func (o *outputs) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first
}

// receive unpacks until the archive ends.
func (o *outputs) receive() error {
	err := o.unpack()
	o.leave()
	if errors.Is(err, errAborted) {
		return err
	}
	if err != nil {
		err = fmt.Errorf("taking outputs back: %w", err)
		o.mu.Lock()
		o.first = err
		o.mu.Unlock()
		o.failed(err)
	} else {
		// Padding behind the archive's end.
		_, err = io.Copy(io.Discard, o.r)
	}
	_ = o.r.CloseWithError(err)
	return err
}

func (o *outputs) unpack() error {
	archive := tar.NewReader(o.r)
	for {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return o.finish()
		case err != nil:
			return err
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		if name == "." {
			continue
		}
		if o.list != "" && name == o.list {
			if o.written, err = io.ReadAll(io.LimitReader(archive, maxReport)); err != nil {
				return err
			}
			o.listed = true
			continue
		}
		if err := o.entry(name, h, archive); err != nil {
			return err
		}
		o.count++
		o.report.send(executor.Progress{Doing: "collecting outputs", Current: o.count, Unit: "files"})
	}
}

// entry unpacks one entry. The archive lists folders before what is in them.
func (o *outputs) entry(name string, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name = name
		o.folders = append(o.folders, h)
		err := o.staging.Mkdir(name, 0o700)
		if errors.Is(err, gofs.ErrExist) {
			return fmt.Errorf("%q stands in the archive twice", name)
		}
		return err
	case tar.TypeReg:
		if taken, err := o.recorder.take(name, content); taken || err != nil {
			return err
		}
		return o.file(name, h, content)
	case tar.TypeSymlink:
		return o.staging.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return o.staging.Link(path.Clean(strings.TrimPrefix(h.Linkname, "/")), name)
	default:
		return &tree.SpecialFileError{Path: name, Type: h.FileInfo().Mode().Type()}
	}
}

func (o *outputs) file(name string, h *tar.Header, content io.Reader) error {
	in, name, err := o.enter(name)
	if err != nil {
		return err
	}
	// O_EXCL: nothing that stands there already, a link least of all, is opened.
	f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = o.copy(f, content)
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode().Perm())
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return in.Chtimes(name, h.ModTime, h.ModTime)
}

// enter returns a handle on the folder that a name lies in, good until the next
// call, and the name in it. Unpacking 20,000 small files to memory takes 1.1 s where
// every component of their paths is opened for each use, and 0.75 to 1 s so.
func (o *outputs) enter(name string) (in *os.Root, base string, err error) {
	folder := path.Dir(name)
	if folder == "." {
		return o.staging, name, nil
	}
	if o.in == nil || folder != o.folder {
		o.leave()
		if o.in, err = o.staging.OpenRoot(folder); err != nil {
			return nil, "", err
		}
		o.folder = folder
	}
	return o.in, path.Base(name), nil
}

func (o *outputs) leave() {
	if o.in != nil {
		_ = o.in.Close() // it was only looked through
		o.in = nil
	}
}

func (o *outputs) copy(f io.Writer, content io.Reader) error {
	if o.recorder == nil {
		_, err := io.Copy(f, content)
		return err
	}
	search := newAuthoritySearch()
	if _, err := io.Copy(io.MultiWriter(f, search), content); err != nil {
		return err
	}
	return search.err()
}

// finish gives folders their modes, the innermost first: one that may not be
// written to could not have been filled.
func (o *outputs) finish() error {
	for _, h := range slices.Backward(o.folders) {
		if err := o.staging.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil {
			return err
		}
		if err := o.staging.Chmod(h.Name, h.FileInfo().Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// clear removes all that came: only a run that succeeded leaves something.
func (o *outputs) clear() {
	_ = gofs.WalkDir(o.staging.FS(), ".", func(p string, d gofs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if err := o.staging.RemoveAll(p); err != nil || d.IsDir() {
			return errors.Join(err, gofs.SkipDir)
		}
		return nil
	})
}

// prune removes what came back and matches no pattern: wildcards, and names that
// BuildKit would read differently, let through more than they match on their
// way, see package compile.
func (o *outputs) prune(ctx context.Context) error {
	matched, _, err := plan.MatchOutputs(ctx, o.staging, o.patterns)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, e := range matched {
		for p := e.Path; p != "." && !keep[p]; p = path.Dir(p) {
			keep[p] = true
		}
	}
	return gofs.WalkDir(o.staging.FS(), ".", func(p string, d gofs.DirEntry, err error) error {
		if err != nil || p == "." || keep[p] {
			return err
		}
		if err := o.staging.RemoveAll(p); err != nil {
			return err
		}
		if d.IsDir() {
			return gofs.SkipDir
		}
		return nil
	})
}
