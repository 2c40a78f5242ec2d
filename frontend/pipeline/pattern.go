// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/attest-pipeline/attest/frontend/glob"
)

// Globs returns the pattern compiled: what it covers is what any of them
// covers. Braces make several of one pattern.
func (p Pattern) Globs() ([]glob.Glob, error) {
	if p.Text == "." {
		return []glob.Glob{{}}, nil
	}
	texts := []string{p.Text}
	if p.Glob {
		var err error
		if texts, err = glob.Expand(p.Text); err != nil {
			return nil, err
		}
	}
	list := make([]glob.Glob, len(texts))
	for i, text := range texts {
		if err := cleanPath(text); err != nil {
			return nil, err
		}
		var err error
		if list[i], err = glob.Compile(text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// String returns the pattern as declared.
func (p Pattern) String() string {
	s := p.Text
	if strings.HasPrefix(s, "!") {
		s = "./" + s
	}
	if p.Exclude {
		s = "!" + s
	}
	if p.Folder && !strings.HasSuffix(s, "/") {
		s += "/"
	}
	if p.Optional {
		s += "?"
	}
	return s
}

// pathError is what is wrong with a path, and ways out.
type pathError struct {
	msg   string
	hints []string
}

func (e *pathError) Error() string { return e.msg }

func wrongPath(msg string, hints ...string) error { return &pathError{msg, hints} }

const maxPath = 4095

// checkPath refuses what is not a path below the project, and returns it clean.
func checkPath(s string) (string, error) {
	switch {
	case s == "":
		return "", wrongPath("an empty path", `write "." for the project's folder`)
	case len(s) > maxPath:
		return "", wrongPath("a path longer than a system can have")
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", wrongPath("a control character in a path")
	case strings.Contains(s, `\`):
		return "", wrongPath(`a backslash in a path`, "write / between folders")
	case strings.HasPrefix(s, "/"):
		return "", wrongPath("an absolute path", "paths are relative to the project's folder")
	case s == "~", strings.HasPrefix(s, "~/"):
		return "", wrongPath("a path in the home folder", "paths are relative to the project's folder")
	case slices.Contains(strings.Split(s, "/"), ".."):
		clean := path.Clean(s)
		if clean == ".." || strings.HasPrefix(clean, "../") {
			return "", wrongPath("a path that leaves the project", "move the files into the project's folder")
		}
		return "", wrongPath("a path with ..", "write "+clean)
	}
	clean := path.Clean(s)
	for _, part := range strings.Split(clean, "/") {
		if part == ".git" || part == ".attest" {
			return "", wrongPath("a path in "+part, "no step sees or writes it")
		}
	}
	return clean, nil
}

// cleanPath refuses a pattern that braces made into something else than a
// clean relative path.
func cleanPath(s string) error {
	clean, err := checkPath(s)
	if err == nil && clean != s {
		err = wrongPath("braces that make an unclean path, "+s, "write the paths out")
	}
	return err
}

// patterns reads a list of paths. outputs tells what they are for.
func (p *parser) patterns(f field, outputs bool) []Pattern {
	one := "input"
	if outputs {
		one = "output"
	}
	items, ok := p.items(f, one)
	if !ok {
		return nil
	}
	all := make([]Pattern, 0, len(items))
	for _, item := range items {
		text, ok := p.text(item)
		if !ok {
			continue
		}
		pat, err := parsePattern(text, outputs)
		if err != nil {
			p.reportPath(item, text, err)
			continue
		}
		pat.Pos = item.pos
		all = append(all, pat)
	}
	return all
}

func (p *parser) reportPath(f field, text string, err error) {
	var hints []string
	if wrong, ok := err.(*pathError); ok { //nolint:errorlint // made here, never wrapped
		hints = wrong.hints
	}
	p.report(p.at(f.value), f.name+" "+show(text)+": "+err.Error(), hints...)
}

func parsePattern(text string, outputs bool) (Pattern, error) {
	var pat Pattern
	text, pat.Exclude = strings.CutPrefix(text, "!")
	if len(text) > 1 {
		text, pat.Optional = strings.CutSuffix(text, "?")
	}
	switch {
	case pat.Exclude && outputs:
		return pat, wrongPath("outputs cannot exclude", "name what the step writes; a name that begins with ! is written ./!name")
	case pat.Exclude && pat.Optional:
		return pat, wrongPath("what is excluded may always be absent", "remove the trailing ?")
	}
	pat.Folder = strings.HasSuffix(text, "/")
	var err error
	if pat.Text, err = checkPath(text); err != nil {
		return pat, err
	}
	if pat.Text == "." {
		if outputs {
			return pat, wrongPath("the whole project cannot be an output", "name the files and folders that the step writes")
		}
		pat.Folder = true
	}
	pat.Glob = strings.ContainsAny(pat.Text, "*?[{}")
	for _, part := range strings.Split(pat.Text, "/") {
		if part != "**" && strings.Contains(part, "**") {
			return pat, wrongPath("** beside other characters", "** stands alone between slashes: **/"+strings.ReplaceAll(part, "**", "*"))
		}
	}
	_, err = pat.Globs()
	return pat, err
}
