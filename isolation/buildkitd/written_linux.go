// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/llb/compile"
)

// What a step wrote in its workspace stands in the upper folder of the overlay
// that the workspace is, and nothing else does. So the engine need not compare
// trees to say what a step wrote: it reads that folder when the step has ended.

// workspace are the folders of a step's workspace.
type workspace struct {
	mounted string // where the engine has the overlay
	upper   string
	lower   []string // the uppermost first
}

// errNoOverlay cannot happen to a client that looks at the engine's controls.
var errNoOverlay = errors.New("the workspace is no overlay")

// workspaceOf finds the workspace among a container's mounts. BuildKit mounts an
// overlay once, and gives the container what is mounted there.
func workspaceOf(spec *specs.Spec) (*workspace, error) {
	i := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == compile.Workspace })
	if i < 0 {
		return nil, errNoOverlay
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(spec.Mounts[i].Source))
	if err != nil {
		return nil, err
	}
	if len(mounts) != 1 || mounts[0].FSType != "overlay" {
		return nil, errNoOverlay
	}
	w := &workspace{mounted: spec.Mounts[i].Source}
	for option := range strings.SplitSeq(mounts[0].VFSOptions, ",") {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
			w.upper = dir
		}
		if dirs, ok := strings.CutPrefix(option, "lowerdir="); ok {
			w.lower = strings.Split(dirs, ":")
		}
	}
	if w.upper == "" {
		return nil, errNoOverlay
	}
	return w, nil
}

// writeReport writes, into the workspace, what the step wrote there. The step is
// gone, and what it may have put in the report's place is removed first.
func writeReport(spec *specs.Spec, name string) error {
	if name != filepath.Base(name) {
		return fmt.Errorf("listing what the step wrote: %q is no name of a file", name)
	}
	w, err := workspaceOf(spec)
	if err != nil {
		return fmt.Errorf("listing what the step wrote: %w", err)
	}
	var list bytes.Buffer
	if err := w.walk(".", &list); err != nil {
		return fmt.Errorf("listing what the step wrote: %w", err)
	}
	path := filepath.Join(w.mounted, name)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(list.Bytes())
	return errors.Join(err, f.Close())
}

// takeReport returns the name of the report that the step's definition asks for,
// and takes the variable that says so out of the environment.
func takeReport(env []string) (rest []string, name string) {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, compile.ReportVariable+"="); ok {
			name = value
		} else {
			rest = append(rest, v)
		}
	}
	return rest, name
}

// walk lists what stands in a folder of the upper one, and what that hides below.
func (w *workspace) walk(dir string, list *bytes.Buffer) error {
	entries, err := os.ReadDir(filepath.Join(w.upper, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			return err
		}
		under := w.below(name)
		switch {
		case isWhiteout(info):
			if under != "" {
				add(list, launch.Removed, name)
			}
		case info.IsDir():
			err = w.folder(name, under, list)
		case under == "":
			add(list, launch.Added, name)
		default:
			var same bool
			if same, err = equal(filepath.Join(w.upper, name), under); err == nil && !same {
				add(list, launch.Changed, name)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder lists a folder, new or not.
func (w *workspace) folder(name, under string, list *bytes.Buffer) error {
	path := filepath.Join(w.upper, name)
	info, err := os.Lstat(cmp.Or(under, path))
	if err != nil {
		return err
	}
	switch {
	case under == "":
		add(list, launch.AddedFolder, name)
	case !info.IsDir():
		add(list, launch.Changed, name)
	case hasAttribute(path, "opaque"): // made anew: what it had is gone
		if err := w.gone(name, under, list); err != nil {
			return err
		}
	}
	if hasAttribute(path, "redirect") { // renamed: what it shows stands elsewhere
		add(list, launch.Added, name)
	}
	return w.walk(name, list)
}

// gone lists the files below a folder that was made anew, those that stand there
// again excepted.
func (w *workspace) gone(name, under string, list *bytes.Buffer) error {
	return filepath.WalkDir(under, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		again := filepath.Join(name, strings.TrimPrefix(path, under))
		if _, err := os.Lstat(filepath.Join(w.upper, again)); errors.Is(err, fs.ErrNotExist) {
			add(list, launch.Removed, again)
		}
		return nil
	})
}

// below returns the path of what the upper folder hides at name, empty for
// nothing.
func (w *workspace) below(name string) string {
	for _, dir := range w.lower {
		path := filepath.Join(dir, name)
		if info, err := os.Lstat(path); err == nil {
			if isWhiteout(info) {
				return ""
			}
			return path
		}
	}
	return ""
}

func isWhiteout(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0
}

func hasAttribute(path, name string) bool {
	n, err := unix.Lgetxattr(path, "trusted.overlay."+name, nil)
	return err == nil && n > 0
}

// equal reports whether two paths hold the same: programs open files for writing
// and write nothing, and what has another time alone is the same.
func equal(a, b string) (bool, error) {
	one, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	two, err := os.Lstat(b)
	if err != nil {
		return false, err
	}
	switch {
	case one.Mode() != two.Mode():
		return false, nil
	case one.Mode()&fs.ModeSymlink != 0:
		targetA, errA := os.Readlink(a)
		targetB, errB := os.Readlink(b)
		return targetA == targetB, errors.Join(errA, errB)
	case !one.Mode().IsRegular():
		return false, nil
	case one.Size() != two.Size():
		return false, nil
	case hasAttribute(a, "metacopy"): // its content is still that below
		return true, nil
	}
	return equalContent(a, b)
}

func equalContent(a, b string) (bool, error) {
	var files [2]*os.File
	for i, path := range []string{a, b} {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return false, err
		}
		defer f.Close()
		files[i] = f
	}
	const piece = 64 << 10
	bufA, bufB := make([]byte, piece), make([]byte, piece)
	for {
		n, errA := io.ReadFull(files[0], bufA)
		m, errB := io.ReadFull(files[1], bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA == io.EOF || errA == io.ErrUnexpectedEOF {
			return errB == errA, nil
		}
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
	}
}

// add adds one change. Names may hold everything but a NUL, which ends it.
func add(list *bytes.Buffer, how byte, name string) {
	list.WriteByte(how)
	list.WriteString(name)
	list.WriteByte(0)
}
