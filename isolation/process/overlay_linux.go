// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// overlay is the place of a step that has an overlay of the project: it writes
// to a folder beside the staging folder, on the same file system, so that outputs
// are moved and not copied however large they are. The project stays as it is.
type overlay struct {
	root *os.Root
	job  executor.Job
	dir  string
	// hidden are paths of the project that the step does not see, although
	// nobody removed them.
	hidden map[string]bool
	// made are the folders of the upper folder, with what they are in the project.
	made map[string]fs.FileInfo
	// order is the view's, and retimed says that the inputs have
	// times that the job's world asks for.
	order   string
	retimed bool
}

func newOverlay(root *os.Root, job executor.Job) *overlay {
	return &overlay{root: root, job: job, dir: job.Staging + ".view"}
}

// folder returns the path of one of the folders of the overlay.
func (o *overlay) folder(name string) string { return filepath.Join(o.dir, name) }

func (o *overlay) prepare(ctx context.Context) error {
	info, err := o.root.Stat(".")
	if err != nil {
		return err
	}
	if tmp, err := os.Lstat("/tmp"); err != nil || !tmp.IsDir() {
		return &refusedError{"/tmp is no folder"}
	}
	const everybodys = 0o777 | os.ModeSticky
	for _, f := range []struct {
		name string
		mode fs.FileMode
	}{{"", privateDir}, {stepinit.Upper, info.Mode()}, {stepinit.Work, privateDir}, {stepinit.Tmp, everybodys}} {
		name := o.folder(f.name)
		if err := os.Mkdir(name, privateDir); err != nil {
			return fmt.Errorf("preparing an overlay of the project: %w", err)
		}
		if f.mode == privateDir {
			continue
		}
		if err := os.Chmod(name, f.mode); err != nil {
			return fmt.Errorf("preparing an overlay of the project: %w", err)
		}
	}
	hidden, err := o.earlier(ctx)
	if err == nil && o.job.Strict {
		hidden, err = o.foreign(hidden)
	}
	if err != nil {
		return err
	}
	if err := o.hide(hidden); err != nil {
		// Old kernels keep this from everybody but root.
		if errors.Is(err, unix.EPERM) {
			return &refusedError{err.Error()}
		}
		return fmt.Errorf("hiding earlier outputs: %w", err)
	}
	return o.world(ctx)
}

// earlier returns the paths of outputs that stand in the project from earlier:
// the fewest that have all of them at or below them, and nothing else.
func (o *overlay) earlier(ctx context.Context) ([]string, error) {
	entries, _, err := plan.MatchOutputs(ctx, o.root, o.job.Outputs)
	if err != nil {
		return nil, fmt.Errorf("looking for earlier outputs: %w", err)
	}
	var paths []string
	for _, e := range entries {
		p := e.Path
		if top, ok := whole(p, o.job.Outputs); ok {
			p = top
		}
		if len(paths) == 0 || paths[len(paths)-1] != p {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// foreign returns the paths of all that stands in the project and is no input,
// the fewest that have it at or below them, and with them those of the earlier
// outputs.
func (o *overlay) foreign(earlier []string) ([]string, error) {
	own := map[string]bool{".": true, ".attest": true} // which is hidden otherwise
	for _, e := range o.job.Inputs.Entries() {
		for p := e.Path; !own[p]; p = path.Dir(p) {
			own[p] = true
		}
	}
	for p := path.Clean(o.job.WorkingDir); !own[p]; p = path.Dir(p) {
		own[p] = true
	}
	var hidden []string
	for p := range own {
		info, err := o.root.Lstat(filepath.FromSlash(p))
		if err != nil || !info.IsDir() || p == ".attest" {
			continue
		}
		f, err := o.root.Open(filepath.FromSlash(p))
		if err != nil {
			return nil, err
		}
		names, err := f.Readdirnames(-1)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if at := path.Join(p, name); !own[at] {
				hidden = append(hidden, at)
			}
		}
	}
	for _, p := range earlier {
		if own[p] {
			hidden = append(hidden, p)
		}
	}
	return hidden, nil
}

// whole returns the output that names p, or a folder above it, as it is, where
// no other pattern takes something out of that.
func whole(p string, outputs []pipeline.Pattern) (top string, ok bool) {
	for _, pattern := range outputs {
		if pattern.Exclude {
			return "", false
		}
		if !pattern.Glob && (p == pattern.Text || strings.HasPrefix(p, pattern.Text+"/")) && (!ok || len(pattern.Text) < len(top)) {
			top, ok = pattern.Text, true
		}
	}
	return top, ok
}

// view returns what the step's init is to mount.
func (o *overlay) view() stepinit.View {
	return stepinit.View{Dir: o.dir, Project: o.job.Root, Order: o.order}
}

func (o *overlay) collect(ctx context.Context, out *executor.Outcome) error {
	files, err := os.OpenRoot(o.folder(stepinit.Upper))
	if err != nil {
		return err
	}
	defer files.Close()
	w := &written{overlay: o, files: files, parents: map[string]bool{}}
	if err := w.read(ctx); err != nil {
		return fmt.Errorf("looking at what the command wrote: %w", err)
	}
	out.Unexpected, out.Modified = w.unexpected, w.modified
	if out.Seen != nil {
		for _, p := range w.unexpected {
			if info, err := files.Lstat(filepath.FromSlash(p)); err == nil && info.IsDir() {
				p += "/"
			}
			out.Seen.Wrote = append(out.Seen.Wrote, p)
		}
	}
	return nil
}

// scriptName is what a script is called: the same for every step and every run,
// since a script can see it.
const scriptName = "attest-script"

func (o *overlay) script() (name, seen string, err error) {
	return filepath.Join(o.folder(stepinit.Tmp), scriptName), "/tmp/" + scriptName, nil
}

// undo is nothing: the project is as it was.
func (o *overlay) undo() error { return nil }

func (o *overlay) close() {
	// Mostly the step wrote nothing but outputs, which are no longer here.
	_ = unix.Unlink(filepath.Join(o.dir, "work/work/incompat/volatile/dirty"))
	for _, left := range []string{
		"work/work/incompat/volatile", "work/work/incompat", "work/work", // the kernel's
		stepinit.Work, stepinit.Upper, stepinit.Tmp, "",
	} {
		if err := unix.Rmdir(filepath.Join(o.dir, left)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = removeAll(o.dir) // it is temporary, and where it resists the next run removes it
			return
		}
	}
}

// hide puts the kernel's marks for files that are not there in the place of the
// paths, of which none is below another.
func (o *overlay) hide(paths []string) error {
	o.hidden = make(map[string]bool, len(paths))
	o.made = map[string]fs.FileInfo{}
	for _, p := range paths {
		if err := o.copyFolder(path.Dir(p), o.made); err != nil {
			return err
		}
		name := o.upper(p)
		if err := unix.Mknod(name, unix.S_IFCHR, 0); err != nil {
			return &fs.PathError{Op: "mknod", Path: name, Err: err}
		}
		o.hidden[p] = true
	}
	// The step sees these folders where the project's are.
	for p, info := range o.made {
		if err := errors.Join(os.Chtimes(o.upper(p), info.ModTime(), info.ModTime()), os.Chmod(o.upper(p), info.Mode())); err != nil {
			return err
		}
	}
	return nil
}

// upper returns the path of the project's p in the upper folder.
func (o *overlay) upper(p string) string {
	return filepath.Join(o.folder(stepinit.Upper), filepath.FromSlash(p))
}

// copyFolder makes a folder of the project in the upper one, still empty, and
// those above it.
func (o *overlay) copyFolder(p string, made map[string]fs.FileInfo) error {
	if _, ok := made[p]; ok || p == "." {
		return nil
	}
	if err := o.copyFolder(path.Dir(p), made); err != nil {
		return err
	}
	info, err := o.root.Lstat(filepath.FromSlash(p))
	if err != nil {
		return err
	}
	if err := os.Mkdir(o.upper(p), privateDir); err != nil {
		return err
	}
	made[p] = info
	if stat := statOf(info); os.Geteuid() == 0 {
		return os.Chown(o.upper(p), int(stat.Uid), int(stat.Gid))
	}
	return nil
}

// saw reports whether the step could see the project's p.
func (o *overlay) saw(p string) bool {
	for ; p != "."; p = path.Dir(p) {
		if o.hidden[p] {
			return false
		}
	}
	return true
}
