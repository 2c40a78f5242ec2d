// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// runPart is the part of a step that is the command itself.
const runPart = "run"

// RunName is the name of the operation that is the step's command, as the
// progress of a solve shows it.
func (s Step) RunName() string { return s.partName(runPart) }

// ImageName is how the name of the operation that fetches the image begins.
func (s Step) ImageName() string { return s.partName("image ") }

func (s Step) partName(part string) string { return "[" + s.Name + "] " + part }

// constraints are what every operation of the step carries besides itself.
// None of it changes the operation's bytes.
func (s Step) constraints(part string) []llb.ConstraintsOpt {
	opts := []llb.ConstraintsOpt{
		llb.WithCustomName(s.partName(part)),
		llb.ProgressGroup("step:"+s.Name, s.Name, false),
	}
	// BuildKit empties the cache folders of an execution that ignores its cache.
	// Such a one is executed every time all the same: its workspace has a key of
	// its own, see Compose.
	if part != runPart || len(s.Caches) == 0 {
		opts = append(opts, llb.IgnoreCache)
	}
	if s.File == nil || s.Pos.IsZero() {
		return opts
	}
	at := &pb.Position{Line: int32(s.Pos.Line), Character: int32(s.Pos.Column)}
	file := llb.NewSourceMap(nil, s.File.Name, "YAML", s.File.Data)
	return append(opts, file.Location([]*pb.Range{{Start: at, End: at}}))
}

// rootFS is the image. It alone may come from BuildKit's cache: it is named by
// its content.
func (s Step) rootFS() (llb.State, error) {
	named, err := reference.ParseNormalizedNamed(s.Image.Ref)
	if err != nil {
		return llb.State{}, fmt.Errorf("image %q: %w", s.Image.Ref, err)
	}
	ref := reference.TagNameOnly(named).String()
	name := llb.WithCustomName(s.ImageName() + s.Image.Ref)
	group := llb.ProgressGroup("step:"+s.Name, s.Name, false)
	if s.Image.Store == "" {
		return llb.Image(ref, name, group), nil
	}
	if _, ok := named.(reference.Digested); !ok {
		return llb.State{}, fmt.Errorf("image %q of an OCI layout has no digest", s.Image.Ref)
	}
	return llb.OCILayout(ref, llb.OCIStore("", s.Image.Store), name, group), nil
}

// command returns the words to run and what they need mounted.
func (s Step) command() ([]string, []llb.RunOption, error) {
	switch c := s.Command; {
	case len(c.Argv) > 0:
		return c.Argv, nil, nil
	case c.Shell != "":
		return []string{"/bin/sh", "-e", "-c", c.Shell}, nil, nil
	case c.Script != "":
		script := llb.Scratch().File(
			llb.Mkfile("/run", 0o755, []byte(c.Script), llb.WithCreatedTime(epoch)), s.constraints("script")...)
		return []string{scriptDir + "/run"}, []llb.RunOption{llb.AddMount(scriptDir, script, llb.Readonly, noContentKey)}, nil
	default:
		return nil, nil, errors.New("no command")
	}
}

// checkText refuses what a container cannot be given: LLB and the OCI runtime's
// configuration hold text, and would change other bytes.
func checkText(args []string, env []pipeline.Var) error {
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return fmt.Errorf("the word %q of the command is not UTF-8, which a container needs", arg)
		}
	}
	for _, v := range env {
		if !utf8.ValidString(v.Name) || !utf8.ValidString(v.Value) {
			// The value may be a secret.
			return fmt.Errorf("the environment variable %q is not UTF-8, which a container needs", v.Name)
		}
	}
	return nil
}

// Env returns the environment of a container step ordered by name: what the
// step declares, over HOME, LANG, TERM and USER, over the image's own. PATH is
// the image's where it has one.
func Env(image []string, declared []pipeline.Var) []pipeline.Var {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, v := range image {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			env[name] = value
		}
	}
	env["HOME"], env["LANG"], env["TERM"], env["USER"] = "/root", "C.UTF-8", "dumb", "root"
	for _, v := range declared {
		env[v.Name] = v.Value
	}
	all := make([]pipeline.Var, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, pipeline.Var{Name: name, Value: env[name]})
	}
	return all
}

// OutputFilter returns the patterns of BuildKit's file copies and exporters for the
// paths that a step's outputs are to be looked for at, as in [Step.Exec]. Where
// include is empty and exclude is not, there are none.
func (s Step) OutputFilter() (include, exclude []string) {
	info := outputFilter(s.Outputs, s.Report)
	return info.IncludePatterns, info.ExcludePatterns
}

// outputFilter has BuildKit's file copy let through the report, every path that
// one of the outputs matches, and what stands below it. BuildKit's own language differs
// from ours in what a backslash, a leading space or a newline does, so of a
// pattern only what means the same in both is kept: components of harmless
// characters and "*", up to the first "**".
func outputFilter(outputs []pipeline.Pattern, report string) *llb.CopyInfo {
	info := &llb.CopyInfo{CopyDirContentsOnly: true}
	if report != "" {
		info.IncludePatterns = append(info.IncludePatterns, report)
	}
	for _, p := range outputs {
		if p.Exclude {
			continue
		}
		pattern := wider(p)
		if pattern == "" {
			info.IncludePatterns = nil
			return info
		}
		info.IncludePatterns = append(info.IncludePatterns, pattern)
	}
	slices.Sort(info.IncludePatterns)
	info.IncludePatterns = slices.Compact(info.IncludePatterns)
	if len(info.IncludePatterns) == 0 {
		info.ExcludePatterns = []string{"**"}
	}
	return info
}

func wider(p pipeline.Pattern) string {
	var kept []string
	for component := range strings.SplitSeq(p.Text, "/") {
		if p.Glob && component == "**" {
			break
		}
		if strings.IndexFunc(component, func(r rune) bool { return !harmless(r, p.Glob) }) >= 0 {
			component = "*"
		}
		kept = append(kept, component)
	}
	return strings.Join(kept, "/")
}

func harmless(r rune, glob bool) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("._-+@=,", r) || glob && r == '*'
}
