// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// git status hangs on the files of the user's and the repository's settings, on
// HEAD and what it names, the index, every tracked file, the patterns of what is
// ignored, and on every folder that is searched for untracked files: the time of
// a folder moves when a name comes or goes. These are the witnesses. Folders
// that a pattern ignores as a whole are not searched; what is in them does not
// count.
//
// Nothing is remembered of a repository with untracked folders, nested
// repositories, submodules, sparse checkouts or more than one index file: what
// the answer hangs on there, only git can tell.

// witness is what git looked at, and what it looked like.
type witness struct {
	path string
	stat tree.Stat // zero for what is not there
}

// remember keeps git's answer, where it can be told what it hangs on. That
// nothing is kept costs the next run a question to git, and is no error.
func (q *Query) remember(ctx context.Context, seen []tree.Found) {
	if q.options.Memory == "" || q.before.IsZero() {
		return
	}
	m := &memory{identity: q.identity, state: *q.state}
	if err := q.witnesses(ctx, m, seen); err != nil {
		return
	}
	if data, err := m.encode(); err == nil && statcache.Replace(q.options.Memory, data) == nil {
		q.sweep()
	}
}

// witnesses fills in m.
func (q *Query) witnesses(ctx context.Context, m *memory, seen []tree.Found) error {
	listed, err := parseListed(q.status)
	if err != nil {
		return err
	}
	var settings, index []byte
	group, asking := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		settings, err = q.run(asking, q.top, "config", "--list", "--show-origin", "-z")
		return err
	})
	group.Go(func() (err error) {
		index, err = q.run(asking, q.top, "ls-files", "--stage", "-z")
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	prefix, err := below(q.top, q.options.Dir)
	if err != nil {
		return err
	}
	l := &looking{before: q.before, top: q.top, prefix: prefix, known: newMerge(seen)}
	if m.outside, err = q.lookOutside(l, settings); err != nil {
		return err
	}
	tracked, err := parseIndex(index)
	if err != nil {
		return err
	}
	s := &scan{looking: l, listed: listed, searched: map[string]bool{".": true}}
	for _, p := range tracked {
		s.searchAbove(p)
	}
	for _, p := range listed.files {
		s.searchAbove(p)
	}
	for p := range listed.ignored {
		s.searchAbove(p)
	}
	if m.folders, err = s.folders(ctx); err != nil {
		return err
	}
	m.files, err = l.files(ctx, append(tracked, s.rules...))
	return err
}

// listed is what git status says besides what differs.
type listed struct {
	ignored map[string]bool // folders that are not searched
	files   []string        // ignored or untracked, in folders that are
}

// parseListed reads git status --porcelain=v2 --ignored=matching -z. Untracked
// folders are those of which git has seen no more than that one file is in them.
func parseListed(status []byte) (listed, error) {
	l := listed{ignored: map[string]bool{}}
	for kind, text := range records(status) {
		if kind != '!' && kind != '?' {
			continue
		}
		p, isDir := strings.CutSuffix(text[2:], "/")
		switch {
		case !isDir:
			l.files = append(l.files, p)
		case kind == '!':
			l.ignored[p] = true
		default:
			return listed{}, fmt.Errorf("%w: the folder %q is untracked", errUnsure, p)
		}
	}
	return l, nil
}

// parseIndex reads git ls-files --stage -z, and returns the paths of files.
func parseIndex(index []byte) ([]string, error) {
	paths := make([]string, 0, bytes.Count(index, []byte{0}))
	for rest := string(index); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\x00")
		facts, p, ok := strings.Cut(line, "\t")
		mode, _, _ := strings.Cut(facts, " ")
		switch {
		case !ok || mode != "100644" && mode != "100755" && mode != "120000":
			return nil, fmt.Errorf("%w: %q has the mode %q", errUnsure, p, mode)
		case len(paths) > 0 && paths[len(paths)-1] == p: // a conflict
		default:
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// looking makes witnesses.
type looking struct {
	before statcache.Moment
	top    string
	prefix string
	known  *merge
}

// files makes witnesses of files of the repository.
func (l *looking) files(ctx context.Context, paths []string) (table, error) {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	list := make([]witness, 0, len(paths))
	for i, p := range paths {
		if i%4096 == 4095 && ctx.Err() != nil {
			return table{}, context.Cause(ctx)
		}
		var s tree.Stat
		if rest, in := strings.CutPrefix(p, l.prefix); in {
			s = l.known.find(rest)
		}
		if s.IsZero() {
			var err error
			if s, err = look(os.Lstat, l.top+"/"+p); err != nil {
				return table{}, err
			}
		}
		if err := l.atRest(p, s); err != nil {
			return table{}, err
		}
		list = append(list, witness{p, s})
	}
	return newTable(list), nil
}

// atRest makes sure that git saw what is there now. What is not there, its
// folder answers for.
func (l *looking) atRest(p string, s tree.Stat) error {
	if !s.IsZero() && !l.before.After(s) {
		return fmt.Errorf("%w: %q was changed only just now", errUnsure, p)
	}
	return nil
}

// elsewhere makes a witness of a file that may be anywhere, and that links may
// lead to.
func (l *looking) elsewhere(p string) (witness, error) {
	s, err := look(os.Stat, p)
	if err != nil {
		return witness{}, err
	}
	link, err := look(os.Lstat, p)
	if err == nil {
		err = l.atRest(p, s)
	}
	if err == nil {
		err = l.atRest(p, link)
	}
	if err == nil && link.IsZero() {
		err = l.neverThere(p)
	}
	if err == nil && s.IsZero() != link.IsZero() {
		err = fmt.Errorf("%w: the link %q leads nowhere", errUnsure, p)
	}
	return witness{p, s}, err
}

// neverThere makes sure that what is not at p was not there for git either: the
// folder that it would be in would have changed.
func (l *looking) neverThere(p string) error {
	for {
		dir := filepath.Dir(p)
		s, err := look(os.Stat, dir)
		if err != nil || !s.IsZero() || dir == p {
			return errors.Join(err, l.atRest(dir, s))
		}
		p = dir
	}
}

// scan goes through the folders that git has searched.
type scan struct {
	*looking
	listed   listed
	searched map[string]bool
	rules    []string // files that say what is ignored, or how files are read
}

// searchAbove notes that the folders above a path were searched.
func (s *scan) searchAbove(p string) {
	for dir := path.Dir(p); !s.searched[dir]; dir = path.Dir(dir) {
		s.searched[dir] = true
	}
}

// folders makes witnesses of the folders.
func (s *scan) folders(ctx context.Context) (table, error) {
	var list []witness
	for queue := []string{"."}; len(queue) > 0; {
		dir := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		w, below, err := s.folder(dir)
		if err != nil {
			return table{}, err
		}
		list, queue = append(list, w), append(queue, below...)
	}
	slices.SortFunc(list, func(a, b witness) int { return strings.Compare(a.path, b.path) })
	return newTable(list), context.Cause(ctx)
}

// folder makes a witness of one folder, and returns those in it that were
// searched. One that git has not spoken of was, too, when nothing is in it but
// folders of which that is true.
func (s *scan) folder(dir string) (w witness, below []string, err error) {
	stat, err := look(os.Lstat, s.top+"/"+dir)
	if err == nil {
		err = s.atRest(dir, stat)
	}
	if err != nil {
		return w, nil, err
	}
	items, err := os.ReadDir(s.top + "/" + dir)
	if err != nil {
		return w, nil, err
	}
	for _, item := range items {
		p := path.Join(dir, item.Name())
		switch {
		case item.Name() == ".git":
			if dir != "." {
				return w, nil, fmt.Errorf("%w: there is a repository in %q", errUnsure, dir)
			}
		case item.IsDir():
			if !s.listed.ignored[p] || s.searched[p] {
				below = append(below, p)
			}
		case !s.searched[dir]:
			return w, nil, fmt.Errorf("%w: git does not speak of %q", errUnsure, p)
		case item.Name() == ".gitignore" || item.Name() == ".gitattributes":
			if !item.Type().IsRegular() {
				return w, nil, fmt.Errorf("%w: %q is no file", errUnsure, p)
			}
			s.rules = append(s.rules, p)
		}
	}
	return witness{dir, stat}, below, nil
}
