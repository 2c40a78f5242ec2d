// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// errAbsent is the ErrInput of an explanation that says: nothing is there.
var errAbsent = fmt.Errorf("%w: nothing is there", ErrInput)

// explain says why a pattern matched nothing; nil where that is as it should
// be: the pattern is optional, or something is there that a later pattern
// excludes. what is "input" or "output".
func explain(root *os.Root, what string, pat pipeline.Pattern) *source.Error {
	path := pat.Text
	if pat.Glob {
		path = beforeWildcard(pat.Text)
	}
	complain := func(err error, format string, args ...any) *source.Error {
		return &source.Error{Pos: pat.Pos, Msg: what + " " + pat.String() + ": " + fmt.Sprintf(format, args...), Err: err}
	}
	at, info, err := reach(root, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if pat.Optional {
			return nil
		}
		e := complain(errAbsent, "there is no %s", at)
		if at != pat.Text && !pat.Glob {
			e = complain(errAbsent, "there is no folder %s", at)
		}
		if meant, ok := neighbour(root, at); ok {
			e.Hints = append(e.Hints, "did you mean `"+meant+"`?")
		}
		e.Hints = append(e.Hints, "if it may be absent, write "+pat.String()+"?")
		return e
	case err != nil:
		return complain(errors.Join(ErrInput, err), "%v", err)
	case info.Mode()&fs.ModeSymlink != 0 && (at != pat.Text || pat.Folder):
		e := complain(ErrInput, "%s is a symbolic link, which is not followed", at)
		e.Hints = []string{"name what it points to; without a slash behind it, the link itself is meant"}
		return e
	case !info.IsDir() && (at != pat.Text || pat.Folder):
		e := complain(ErrInput, "%s is a file, not a folder", at)
		if at == pat.Text {
			e.Hints = []string{"write it without a slash behind it"}
		}
		return e
	case !pat.Glob || pat.Optional:
		return nil
	}
	e := complain(errAbsent, "nothing matches")
	if strings.Contains(pat.Text, "[") {
		e.Hints = append(e.Hints, "[ begins a set of characters: for the character itself write [[]")
	}
	e.Hints = append(e.Hints, "if it may match nothing, write "+pat.String()+"?")
	return e
}

// reach looks at path as far as folders lead, and returns how far that is and
// what stands there.
func reach(root *os.Root, path string) (string, fs.FileInfo, error) {
	for end := range len(path) + 1 {
		if end < len(path) && path[end] != '/' {
			continue
		}
		info, err := root.Lstat(filepath.FromSlash(path[:end]))
		if err != nil || !info.IsDir() || end == len(path) {
			return path[:end], info, err
		}
	}
	return path, nil, fs.ErrNotExist // not reached: end comes to len(path)
}

// beforeWildcard returns the folders of a pattern before the first component
// that holds a wildcard, "." where that is the first.
func beforeWildcard(text string) string {
	i := strings.IndexAny(text, "*?[{}")
	return parent(text[:i])
}

// maxNames bounds how many names of a folder are compared with a misspelt one.
const maxNames = 2000

// neighbour returns the path beside the absent p that may have been meant.
func neighbour(root *os.Root, p string) (string, bool) {
	dir, err := root.Open(filepath.FromSlash(parent(p)))
	if err != nil {
		return "", false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxNames)
	if err != nil {
		return "", false
	}
	meant, ok := source.Closest(base(p), names)
	return p[:len(p)-len(base(p))] + meant, ok
}
