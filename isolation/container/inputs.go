// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	gofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// inputs serves the planned tree to the engine, and nothing else. Modes, owners
// and times do not come from the disk; contents do, and are checked.
//
// The engine asks only for files whose size, mode or time differ from what it
// kept of an earlier run. The time is therefore made of the content's digest,
// under a key: two contents with one time would be taken for one, and without
// the key nobody can search for such a pair.
type inputs struct {
	root   *os.Root
	tree   tree.Tree
	key    []byte
	report *reporter
	read   atomic.Int64 // files that were read

	buffers sync.Pool // of *[small]byte

	mu      sync.Mutex
	changed error           // the first *executor.InputChangedError
	failed  func(err error) // told of it
	order   []*tree.Entry   // in the order of a walk
}

var _ fsutil.FS = (*inputs)(nil)

func newInputs(root *os.Root, t tree.Tree, key []byte, report *reporter) *inputs {
	in := &inputs{root: root, tree: t, key: key, report: report, failed: func(error) {}}
	entries := t.Entries()
	in.order = make([]*tree.Entry, len(entries))
	for i := range entries {
		in.order[i] = &entries[i]
	}
	slices.SortFunc(in.order, func(a, b *tree.Entry) int { return fsutil.ComparePath(a.Path, b.Path) })
	return in
}

// err returns the change that was found, if one was.
func (in *inputs) err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.changed
}

func (in *inputs) fail(err error) {
	in.mu.Lock()
	first := in.changed == nil
	if first {
		in.changed = err
	}
	in.mu.Unlock()
	if first {
		in.failed(err)
	}
}

// Walk calls fn for every entry and the folders above it, parents first. The
// target is always the root: nothing else is asked for.
func (in *inputs) Walk(ctx context.Context, _ string, fn gofs.WalkDirFunc) error {
	in.report.send(executor.Progress{Doing: "sending inputs", Total: int64(len(in.order)), Unit: "files"})
	var last string // the folder that fn was called for last, itself or by an entry in it
	for _, e := range in.order {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for _, dir := range missing(last, path.Dir(e.Path)) {
			if err := call(fn, folder(dir)); err != nil {
				return err
			}
		}
		last = path.Dir(e.Path)
		if e.Kind == tree.Dir {
			last = e.Path
		}
		if err := in.check(*e); err != nil {
			return err
		}
		if err := call(fn, in.stat(*e)); err != nil {
			return err
		}
	}
	return nil
}

// check looks at what is not looked at when it is opened.
func (in *inputs) check(e tree.Entry) error {
	if e.Kind != tree.Symlink {
		return nil
	}
	target, err := in.root.Readlink(filepath.FromSlash(e.Path))
	if err == nil && target != e.Target {
		err = fmt.Errorf("the link led to %q and leads to %q", e.Target, target)
	}
	if err != nil {
		return in.change(e.Path, err)
	}
	return nil
}

// missing returns dir and the folders above it that are neither last nor above
// last, the uppermost first.
func missing(last, dir string) []string {
	var dirs []string
	for ; dir != "." && dir != last && !strings.HasPrefix(last, dir+"/"); dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

func call(fn gofs.WalkDirFunc, stat *fstypes.Stat) error {
	return fn(filepath.FromSlash(stat.Path), &fsutil.DirEntryInfo{Stat: stat}, nil)
}

func folder(p string) *fstypes.Stat {
	return &fstypes.Stat{Path: p, Mode: uint32(os.ModeDir | 0o755)}
}

func (in *inputs) stat(e tree.Entry) *fstypes.Stat {
	switch e.Kind {
	case tree.Dir:
		return folder(e.Path)
	case tree.Symlink:
		return &fstypes.Stat{Path: e.Path, Mode: uint32(os.ModeSymlink) | e.Mode(), Linkname: e.Target, Size: e.Size}
	default:
		return &fstypes.Stat{Path: e.Path, Mode: e.Mode(), Size: e.Size, ModTime: in.time(e.Digest)}
	}
}

// time returns nanoseconds since 1970, below 2038, which every file system
// keeps.
func (in *inputs) time(d digest.Digest) int64 {
	sum := d.Bytes()
	keyed := digest.Of(append(slices.Clip(in.key), sum[:]...)).Bytes()
	const second = 1_000_000_000
	return int64(binary.LittleEndian.Uint64(keyed[:]) % (1 << 31 * second))
}

// Open returns the content of a file, checked while it is read. It never fails:
// the sender would take that for an empty file. The reader fails instead.
func (in *inputs) Open(p string) (io.ReadCloser, error) {
	p = filepath.ToSlash(p)
	e, ok := in.tree.Find(p)
	if !ok || e.Kind != tree.File {
		return io.NopCloser(failing{errors.New("not among the inputs")}), nil
	}
	in.report.send(executor.Progress{Doing: "sending inputs", Current: in.read.Add(1), Total: int64(len(in.order)), Unit: "files"})
	f, err := tree.Open(in.root, filepath.FromSlash(p))
	if err != nil {
		return io.NopCloser(failing{in.change(p, err)}), nil
	}
	if info, err := f.Stat(); err != nil || (tree.Entry{Kind: tree.File, Perm: uint32(info.Mode().Perm())}).Mode() != e.Mode() {
		_ = f.Close()
		return io.NopCloser(failing{in.change(p, cmp.Or(err, errMode))}), nil
	}
	if e.Size < small {
		return in.whole(f, e)
	}
	// One byte more than planned is enough to see that a file grew.
	checked := digest.NewReader(io.LimitReader(f, e.Size+1), e.Digest)
	return &input{f: f, checked: checked, path: p, in: in}, nil
}

// small is the size of files from which on it is not worth reading them at once: as
// much as the sender puts into one message.
const small = 32 << 10

// whole reads and checks a small file, and closes it: a hasher that can be written to
// is several kilobytes of garbage, for a file that is often smaller.
func (in *inputs) whole(f *os.File, e tree.Entry) (io.ReadCloser, error) {
	defer f.Close()
	buf, ok := in.buffers.Get().(*[small]byte)
	if !ok {
		buf = new([small]byte)
	}
	n, err := io.ReadFull(f, buf[:e.Size+1])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil // all is there; a byte more would have been too many
	}
	if got := digest.Of(buf[:n]); err == nil && got != e.Digest {
		err = &digest.MismatchError{Want: e.Digest, Got: got}
	}
	if err != nil {
		return io.NopCloser(failing{in.change(e.Path, err)}), nil
	}
	return &smallInput{Reader: bytes.NewReader(buf[:n]), buf: buf, in: in}, nil
}

// smallInput is the content of a small file.
type smallInput struct {
	*bytes.Reader
	buf *[small]byte
	in  *inputs
}

// Close implements [io.Closer]. Nothing may be read any more.
func (c *smallInput) Close() error {
	c.in.buffers.Put(c.buf)
	return nil
}

// change records that the file at p is not what was planned.
func (in *inputs) change(p string, err error) error {
	changed := &executor.InputChangedError{Path: p, Err: err}
	in.fail(changed)
	return changed
}

var errMode = errors.New("whether it may be executed is not as it was")

type input struct {
	f       *os.File
	checked io.Reader
	path    string
	in      *inputs
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.checked.Read(p)
	if err != nil && err != io.EOF {
		err = i.in.change(i.path, err)
	}
	return n, err
}

func (i *input) Close() error { return i.f.Close() }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
