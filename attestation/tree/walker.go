// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Walker collects what a rule takes of a folder, in several folders at once.
// Nothing outside Root is reached, and no symbolic link below Base is followed.
//
// S is what the rule knows at a folder. Enter and Child are called by several
// goroutines at once.
type Walker[S any] struct {
	Root *os.Root
	// Base is the folder of Root that all paths are relative to, slash-separated;
	// empty is Root itself.
	Base string
	// Enter, when not nil, is called in every folder with what stands in it,
	// ordered by name, and returns what the rule knows there. It does not keep
	// items.
	Enter func(dir string, items []Item, at S) (S, error)
	// Child decides on what stands at p, in a folder where the rule knows at,
	// and returns what it would know in p.
	Child func(p string, isDir bool, at S) (S, Verdict)
	// Special, when not nil, is told of every special file that was taken, one
	// after the other in the order of paths, and of what the rule knew there.
	// When it is nil, a special file ends the walk.
	Special func(err *SpecialFileError, at S)
	// Hollow has folders listed as empty of which nothing was taken, besides
	// those in which nothing stands.
	Hollow bool
}

// Item is a name in a folder.
type Item struct {
	Name string
	Type fs.FileMode // the type bits alone
	// key is the path, with a slash behind that of a folder: what is below it
	// is ordered as if it stood here.
	key string
}

// Verdict is what is to be done with a path. A folder is taken when it is
// descended into and turns out empty.
type Verdict struct {
	Take    bool
	Descend bool
}

// Walk returns what the rule takes below the folder from, and from itself should
// it be empty and taken by v. at is what the rule knows there. An empty from
// is the base.
func (w *Walker[S]) Walk(ctx context.Context, from string, at S, v Verdict) (Found, error) {
	base, err := openBase(w.Root, w.Base)
	if err != nil {
		return Found{}, err
	}
	defer base.close()
	group, ctx := errgroup.WithContext(ctx)
	// More goroutines than processors keep a disk busy when nothing is cached.
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	r := &walking[S]{Walker: w, base: base, group: group}
	top := &node[S]{path: from, listed: v.Take && from != ""}
	// Most walks are short: others take part where a folder holds several.
	err = r.folder(ctx, top, at, from == "")
	if others := group.Wait(); err == nil || others != nil {
		err = others
	}
	if err != nil {
		return Found{}, err
	}
	return r.collect(top)
}

// walking is one walk.
type walking[S any] struct {
	*Walker[S]
	base      *base
	group     *errgroup.Group
	scratches sync.Pool // of *scratch
}

// scratch is what the reading of one folder needs and leaves to the next.
type scratch struct {
	buf   []byte // for the system's answers
	keys  []byte
	ends  []int
	types []fs.FileMode
	items []Item
}

// add adds a name to those read.
func (s *scratch) add(prefix string, name []byte, mode fs.FileMode) {
	s.keys = append(append(s.keys, prefix...), name...)
	if mode.IsDir() {
		s.keys = append(s.keys, '/')
	}
	s.ends, s.types = append(s.ends, len(s.keys)), append(s.types, mode)
}

// list returns what was added, ordered. All keys are parts of one string.
func (s *scratch) list(prefix string) []Item {
	keys, start := string(s.keys), 0
	s.items = s.items[:0]
	for i, end := range s.ends {
		key := keys[start:end]
		name := key[len(prefix):]
		if s.types[i].IsDir() {
			name = name[:len(name)-1]
		}
		s.items = append(s.items, Item{name, s.types[i], key})
		start = end
	}
	slices.SortFunc(s.items, func(a, b Item) int { return strings.Compare(a.key[len(prefix):], b.key[len(prefix):]) })
	return s.items
}

// node is a folder that was descended into.
type node[S any] struct {
	path     string
	listed   bool // should it be empty
	empty    bool
	gone     bool
	self     looked
	children []child[S]
	specials []special[S]
}

// child is what stands in a folder and was taken or descended into.
type child[S any] struct {
	path  string
	below *node[S] // nil for what is no folder
	looked
}

// looked is what the file system says of a path.
type looked struct {
	kind Kind // zero for what is gone, or special
	perm uint32
	size int64
	stat Stat
}

type special[S any] struct {
	err *SpecialFileError
	at  S
}

// chunk is how many files of one folder are looked at by one goroutine.
const chunk = 512

// folder fills in n, and sees to what is below it.
func (r *walking[S]) folder(ctx context.Context, n *node[S], at S, top bool) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f, err := r.base.open(n.path)
	if errors.Is(err, fs.ErrNotExist) && !top {
		n.gone = true // between the listing and the look
		return nil
	}
	if err != nil {
		return err
	}
	below, err := r.read(f, n, at)
	if err = errors.Join(err, f.close()); err != nil {
		return err
	}
	for i, b := range below {
		descend := func() error { return r.folder(ctx, b.node, b.at, false) }
		if i == len(below)-1 || !r.group.TryGo(descend) {
			if err := descend(); err != nil {
				return err
			}
		}
	}
	return nil
}

type descent[S any] struct {
	node *node[S]
	at   S
}

// read fills in n and returns the folders that are to be descended into.
func (r *walking[S]) read(f *folder, n *node[S], at S) ([]descent[S], error) {
	prefix := n.path + "/"
	if n.path == "" {
		prefix = ""
	}
	var err error
	if n.self, err = f.self(); err != nil {
		return nil, err
	}
	aside, _ := r.scratches.Get().(*scratch)
	if aside == nil {
		aside = &scratch{buf: make([]byte, 64<<10)}
	}
	defer r.scratches.Put(aside)
	aside.keys, aside.ends, aside.types = aside.keys[:0], aside.ends[:0], aside.types[:0]
	if err := f.read(aside, prefix); err != nil {
		return nil, err
	}
	items := aside.list(prefix)
	n.empty = len(items) == 0
	if r.Enter != nil {
		dir := n.path
		if dir == "" {
			dir = "."
		}
		if at, err = r.Enter(dir, items, at); err != nil {
			return nil, err
		}
	}
	below := r.choose(n, items, at)
	return below, r.look(f, n, len(prefix))
}

// choose asks the rule for every item.
func (r *walking[S]) choose(n *node[S], items []Item, at S) (below []descent[S]) {
	n.children = make([]child[S], 0, len(items))
	for i := range items {
		item := &items[i]
		isDir := item.Type.IsDir()
		p := item.key
		if isDir {
			p = p[:len(p)-1]
		}
		next, v := r.Child(p, isDir, at)
		switch {
		case isDir && v.Descend:
			sub := &node[S]{path: p, listed: v.Take}
			n.children = append(n.children, child[S]{path: p, below: sub})
			below = append(below, descent[S]{sub, next})
		case isDir || !v.Take:
		case item.Type.IsRegular():
			n.children = append(n.children, child[S]{path: p, looked: looked{kind: File}})
		case item.Type == fs.ModeSymlink:
			n.children = append(n.children, child[S]{path: p, looked: looked{kind: Symlink, perm: 0o777}})
		default:
			n.specials = append(n.specials, special[S]{&SpecialFileError{Path: p, Type: item.Type}, next})
		}
	}
	return below
}

// look asks the file system for the files among n's children, whose names begin
// at from in their paths.
func (r *walking[S]) look(f *folder, n *node[S], from int) error {
	if len(n.children) <= chunk {
		return lookAt(f, n.children, from)
	}
	var parts errgroup.Group
	parts.SetLimit(runtime.GOMAXPROCS(0))
	for part := range slices.Chunk(n.children, chunk) {
		parts.Go(func() error { return lookAt(f, part, from) })
	}
	return parts.Wait()
}

func lookAt[S any](f *folder, children []child[S], from int) error {
	for i := range children {
		c := &children[i]
		if c.kind != File {
			continue
		}
		var err error
		c.looked, err = f.look(c.path[from:])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.looked = looked{} // gone between the listing and the look
		case err != nil:
			return err
		case c.kind != File && c.kind != Symlink:
			// It became something just now that the rule was not asked about.
			return &fs.PathError{Op: "stat", Path: c.path, Err: errReplaced}
		}
	}
	return nil
}

// collect puts together what was found.
func (r *walking[S]) collect(top *node[S]) (Found, error) {
	n, folders := top.count()
	found := Found{make([]Entry, 0, n+spare), make([]Stat, 0, n+spare), make([]Folder, 0, folders)}
	var specials []special[S]
	top.collect(&found, &specials, r.Hollow)
	slices.SortFunc(specials, func(a, b special[S]) int { return strings.Compare(a.err.Path, b.err.Path) })
	for _, s := range specials {
		if r.Special == nil {
			return Found{}, s.err
		}
		r.Special(s.err, s.at)
	}
	found.order()
	return found, nil
}

// count returns the most that collect can add.
func (n *node[S]) count() (entries, folders int) {
	entries, folders = 1, 1
	for i := range n.children {
		if below := n.children[i].below; below != nil {
			more, deeper := below.count()
			entries, folders = entries+more, folders+deeper
		} else {
			entries++
		}
	}
	return entries, folders
}

func (n *node[S]) collect(found *Found, specials *[]special[S], hollow bool) {
	before, special := len(found.Entries), len(*specials)
	*specials = append(*specials, n.specials...)
	if !n.gone {
		found.Folders = append(found.Folders, Folder{n.path, n.self.stat})
	}
	for i := range n.children {
		c := &n.children[i]
		switch {
		case c.below != nil:
			c.below.collect(found, specials, hollow)
			c.below = nil
		case c.kind != 0:
			found.add(Entry{Path: c.path, Kind: c.kind, Perm: c.perm, Size: c.size}, c.stat)
		}
	}
	nothing := len(found.Entries) == before && len(*specials) == special
	if n.listed && !n.gone && (n.empty || hollow && nothing) {
		found.add(Entry{Path: n.path, Kind: Dir, Perm: n.self.perm}, n.self.stat)
	}
}
