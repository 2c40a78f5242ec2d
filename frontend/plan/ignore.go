// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/glob"
)

// ignoreFiles are read in every folder, the later over the earlier.
var ignoreFiles = [...]string{".gitignore", ".attestignore"}

// maxIgnore bounds the size of one of them.
const maxIgnore = 4 << 20

// level is what the ignore files of one folder and those above it say.
type level struct {
	above  *level
	prefix string // the folder with a slash, empty at the top
	rules  []ignoreRule
}

// ignoreRule is one line of an ignore file.
type ignoreRule struct {
	glob     glob.Glob
	keep     bool // began with !
	folder   bool // ended with /
	anywhere bool // held no other slash: a name at any depth
}

// below returns what holds in a folder that items stand in.
func (l *level) below(root *os.Root, dir string, items []tree.Item) (*level, error) {
	next := &level{above: l}
	if dir != "." {
		next.prefix = dir + "/"
	}
	for _, name := range ignoreFiles {
		for _, item := range items {
			// Git reads no ignore file through a symbolic link either.
			if item.Name != name || !item.Type.IsRegular() {
				continue
			}
			text, err := readIgnore(root, next.prefix+name)
			if err != nil {
				return nil, err
			}
			next.rules = append(next.rules, parseIgnore(text)...)
		}
	}
	if len(next.rules) == 0 && l != nil {
		return l, nil
	}
	return next, nil
}

func readIgnore(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIgnore+1))
	if err == nil && len(text) > maxIgnore {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxIgnore>>20)
	}
	return text, err
}

// parseIgnore reads the lines as gitignore(5) has them. A line that can match
// nothing is left out.
func parseIgnore(text []byte) []ignoreRule {
	var rules []ignoreRule
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	for raw := range bytes.Lines(text) {
		line := strings.TrimSuffix(string(raw), "\n")
		line = trimSpaces(strings.TrimSuffix(line, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		var r ignoreRule
		line, r.keep = strings.CutPrefix(line, "!")
		line, r.folder = strings.CutSuffix(line, "/")
		r.anywhere = !strings.Contains(line, "/")
		var err error
		if r.glob, err = glob.Compile(strings.TrimPrefix(line, "/")); err != nil {
			continue
		}
		rules = append(rules, r)
	}
	return rules
}

// trimSpaces drops the spaces at the end, but for one behind a backslash.
func trimSpaces(line string) string {
	end := len(line)
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			if end > i {
				end = i
			}
			continue
		case '\\':
			i++
		}
		end = len(line)
	}
	return line[:end]
}

// ignores reports whether p is ignored, its folders not being so: the last
// line that matches decides, of the ignore file nearest to p.
func (l *level) ignores(p string, isDir bool) bool {
	name := base(p)
	for ; l != nil; l = l.above {
		rel := p[len(l.prefix):]
		for i := len(l.rules) - 1; i >= 0; i-- {
			r := &l.rules[i]
			if r.folder && !isDir {
				continue
			}
			against := rel
			if r.anywhere {
				against = name
			}
			if r.glob.Match(against) {
				return !r.keep
			}
		}
	}
	return false
}
