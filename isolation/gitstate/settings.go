// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lookOutside makes witnesses of what git looks at besides the files of the
// repository and their folders. settings is what git config --list
// --show-origin -z says.
func (q *Query) lookOutside(l *looking, settings []byte) (table, error) {
	s, err := q.parseSettings(settings)
	if err != nil {
		return table{}, err
	}
	head, err := q.head()
	if err == nil {
		err = q.simple()
	}
	if err != nil {
		return table{}, err
	}
	paths := append(s.files, q.git, s.excludes, s.attributes)
	for _, name := range []string{
		"HEAD", head, "packed-refs", "index", "config", "config.worktree", "commondir",
		"info/exclude", "info/attributes", "refs", "refs/replace",
	} {
		paths = append(paths, filepath.Join(q.top, ".git", name))
	}
	system, err := q.systemFolders()
	if err != nil {
		return table{}, err
	}
	for _, dir := range system {
		paths = append(paths, filepath.Join(dir, "gitconfig"), filepath.Join(dir, "gitattributes"))
	}
	slices.Sort(paths)
	var list []witness
	for _, p := range slices.Compact(paths) {
		w, err := l.elsewhere(p)
		if err != nil {
			return table{}, err
		}
		list = append(list, w)
	}
	return newTable(list), nil
}

// simple makes sure that the repository keeps its index in one file, and its
// references in files of their own.
func (q *Query) simple() error {
	items, err := os.ReadDir(filepath.Join(q.top, ".git"))
	for _, item := range items {
		if name := item.Name(); strings.HasPrefix(name, "sharedindex.") || name == "reftable" || name == "commondir" {
			return fmt.Errorf("%w: there is .git/%s", errUnsure, name)
		}
	}
	return err
}

// systemFolders returns where settings for all users may be: it was decided
// when git was built.
func (q *Query) systemFolders() ([]string, error) {
	git, err := filepath.EvalSymlinks(q.git)
	if err != nil {
		return nil, err
	}
	return []string{"/etc", filepath.Join(filepath.Dir(filepath.Dir(git)), "etc")}, nil
}

// head returns what HEAD names, relative to .git: a branch's file, or HEAD
// itself where it names a commit.
func (q *Query) head() (string, error) {
	ref := "HEAD"
	for range 2 {
		data, err := os.ReadFile(filepath.Join(q.top, ".git", ref))
		if os.IsNotExist(err) && ref != "HEAD" { // packed, or not born yet
			return ref, nil
		}
		if err != nil {
			return "", err
		}
		name, ok := strings.CutPrefix(string(data), "ref:")
		if !ok {
			return ref, nil
		}
		if ref = strings.TrimSpace(name); !filepath.IsLocal(ref) || !strings.HasPrefix(ref, "refs/") {
			return "", fmt.Errorf("%w: HEAD names %q", errUnsure, ref)
		}
	}
	return "", fmt.Errorf("%w: HEAD names a name of a name", errUnsure)
}

// settings is what counts of git's settings.
type settings struct {
	files      []string // that they stand in, or would
	excludes   string
	attributes string
}

// parseSettings reads git config --list --show-origin -z.
func (q *Query) parseSettings(data []byte) (settings, error) {
	home, xdg := q.variable("HOME"), q.variable("XDG_CONFIG_HOME")
	if xdg == "" {
		xdg = filepath.Join(home, ".config")
	}
	s := settings{
		files:    []string{filepath.Join(home, ".gitconfig"), filepath.Join(xdg, "git", "config")},
		excludes: filepath.Join(xdg, "git", "ignore"), attributes: filepath.Join(xdg, "git", "attributes"),
	}
	fields := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	for len(fields) >= 2 {
		origin, setting := fields[0], fields[1]
		fields = fields[2:]
		if origin == "command line:" { // our own
			continue
		}
		file, ok := strings.CutPrefix(origin, "file:")
		if !ok {
			return s, fmt.Errorf("%w: settings come from %q", errUnsure, origin)
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(q.top, file)
		}
		s.files = append(s.files, file)
		key, value, _ := strings.Cut(setting, "\n")
		if err := s.take(key, value, file, home); err != nil {
			return s, err
		}
	}
	slices.Sort(s.files)
	s.files = slices.Compact(s.files)
	return s, nil
}

// take looks at one setting of a file.
func (s *settings) take(key, value, file, home string) (err error) {
	section, _, _ := strings.Cut(key, ".")
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch {
	case key == "core.excludesfile":
		s.excludes, err = expand(value, "", home)
	case key == "core.attributesfile":
		s.attributes, err = expand(value, "", home)
	case (section == "include" || section == "includeif") && name == "path":
		if value, err = expand(value, filepath.Dir(file), home); err == nil {
			s.files = append(s.files, value) // git names it only when there is something in it
		}
	case key == "core.worktree", key == "core.sparsecheckout" && value != "false", key == "core.splitindex" && value != "false",
		section == "extensions" && name != "objectformat" && name != "partialclone" && name != "noop":
		return fmt.Errorf("%w: there is the setting %q", errUnsure, key)
	}
	return err
}

// expand returns the path that a setting stands for: relative to a folder, if
// any is given.
func expand(value, dir, home string) (string, error) {
	if rest, ok := strings.CutPrefix(value, "~/"); ok {
		return filepath.Join(home, rest), nil
	}
	switch {
	case filepath.IsAbs(value):
		return filepath.Clean(value), nil
	case value == "", dir == "", strings.HasPrefix(value, "~"), strings.HasPrefix(value, "%("):
		return "", fmt.Errorf("%w: a setting names %q", errUnsure, value)
	}
	return filepath.Join(dir, value), nil
}
