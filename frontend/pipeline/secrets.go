// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"path"
	"slices"
	"strings"
)

var secretKeys = []key[Secret]{
	{"env", func(p *parser, f field, s *Secret) {
		if name, ok := p.text(f); ok && p.envName(field{pos: p.at(f.value)}, name) {
			s.Env = name
		}
	}},
	{"file", func(p *parser, f field, s *Secret) { s.File, _ = p.filled(f) }},
	{"command", func(p *parser, f field, s *Secret) { s.Command, _ = p.filled(f) }},
	{"mount", func(p *parser, f field, s *Secret) {
		if text, ok := p.filled(f); ok && strings.HasPrefix(text, inHome) {
			s.Mount = p.homePath(f, text)
			return
		}
		s.Mount, _ = p.stepPath(f)
	}},
}

// readSecrets reads secrets: a mapping of names to where they come from.
func readSecrets(p *parser, f field, d *draft) {
	mounts := map[string]bool{}
	for _, f := range p.fields(f, "secrets") {
		s := Secret{Name: f.name, Pos: f.pos}
		if !p.envName(f, f.name) {
			continue
		}
		before := len(p.problems)
		readMapping(p, f, "secret "+show(f.name), secretKeys, &s)
		sources := 0
		for _, from := range []string{s.Env, s.File, s.Command} {
			if from != "" {
				sources++
			}
		}
		switch {
		case len(p.problems) > before:
		case sources != 1:
			p.report(f.pos, "secret "+show(f.name)+" must come from one place", "say one of env: VARIABLE, file: PATH and command: SCRIPT")
		case s.Mount != "" && mounts[s.Mount]:
			p.report(f.pos, "two secrets are mounted at "+s.Mount, "give each a path of its own")
		}
		mounts[s.Mount] = true
		d.Secrets = append(d.Secrets, s)
	}
	slices.SortFunc(d.Secrets, func(a, b Secret) int { return strings.Compare(a.Name, b.Name) })
}

// readCaches reads caches: a mapping of names to folders.
func readCaches(p *parser, f field, d *draft) {
	for _, f := range p.fields(f, "caches") {
		if !p.checkName(field{pos: f.pos}, f.name, "name of a cache") {
			continue
		}
		at, ok := p.stepPath(f)
		if !ok {
			continue
		}
		for _, other := range d.Caches {
			if within(at, other.Path) || within(other.Path, at) {
				p.report(p.at(f.value), "caches "+show(other.Name)+" and "+show(f.name)+" lie in one another", "give each a folder of its own")
			}
		}
		d.Caches = append(d.Caches, CacheFolder{Name: f.name, Path: at, Pos: f.pos})
	}
	slices.SortFunc(d.Caches, func(a, b CacheFolder) int { return strings.Compare(a.Name, b.Name) })
}

// ownedPaths are folders of a step in which nothing can be mounted: what stands
// there is the kernel's, or the project's.
var ownedPaths = []string{"/proc", "/sys", "/dev", "/workspace", "/.attest"}

// stepPath returns an absolute path in a step's own file system.
func (p *parser) stepPath(f field) (string, bool) {
	s, ok := p.filled(f)
	if !ok {
		return "", false
	}
	clean := path.Clean(s)
	msg := ""
	switch {
	case !strings.HasPrefix(s, "/") || clean == "/" || slices.Contains(strings.Split(s, "/"), ".."):
		msg = f.name + " must be an absolute path in the step, not " + show(s)
	case len(s) > maxPath || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		msg = f.name + " is not a path: " + show(s)
	}
	for _, owned := range ownedPaths {
		if msg == "" && (within(clean, owned) || within(owned, clean)) {
			msg = f.name + " cannot be in " + owned + ", which is not the image's"
		}
	}
	if msg != "" {
		p.report(p.at(f.value), msg, "write for instance /root/.npm or /run/secrets/token")
		return "", false
	}
	return clean, true
}

// homePath returns a path in a step's home, empty where it is none.
func (p *parser) homePath(f field, s string) string {
	clean := path.Clean(strings.TrimLeft(strings.TrimPrefix(s, inHome), "/"))
	switch {
	case clean == "." || slices.Contains(strings.Split(s, "/"), ".."):
		p.report(p.at(f.value), f.name+" must be a file in the step's home, not "+show(s), "write for instance ~/.netrc")
	case len(s) > maxPath || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.report(p.at(f.value), f.name+" is not a path: "+show(s), "write for instance ~/.netrc")
	default:
		return inHome + clean
	}
	return ""
}

// within reports whether one clean absolute path is the other or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// checkSecrets reports variables that are both a secret and something else.
func (p *parser) checkSecrets(d *draft) {
	for _, s := range d.Secrets {
		if s.InHome() && d.Isolation != Process {
			p.report(s.Pos, "the secret "+show(s.Name)+" is mounted in the step's home, and where that is in its image nobody knows",
				"write an absolute path, as /root/"+strings.TrimPrefix(s.Mount, inHome))
		}
		if s.Mount != "" {
			continue
		}
		declared := slices.ContainsFunc(d.Env, func(v Var) bool { return v.Name == s.Name })
		if declared || slices.Contains(d.PassEnv, s.Name) {
			p.report(s.Pos, s.Name+" is a secret and in env or pass_env", "remove it from one of them")
		}
	}
}
