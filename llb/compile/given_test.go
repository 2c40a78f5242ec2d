// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/llb/compile"
)

// execution returns the one command of a step's definition, and what is said of it
// beside it.
func execution(t *testing.T, s compile.Step) (exec *pb.ExecOp, about llb.OpMetadata) {
	t.Helper()
	s.Name, s.Command, s.Image.Ref = "s", pipeline.Command{Shell: "true"}, "debian:13"
	def, err := s.Definition(t.Context(), "hint", platform)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(data); err != nil {
			t.Fatal(err)
		}
		if e := op.GetExec(); e != nil && exec != nil {
			t.Fatal("there are two commands")
		} else if e != nil {
			exec, about = e, def.Metadata[digest.FromBytes(data)]
		}
	}
	if exec == nil {
		t.Fatal("there is no command")
	}
	return exec, about
}

// TestLimits: a step that declares nothing is given nothing, and one that does what
// it declares.
func TestLimits(t *testing.T) {
	exec, about := execution(t, compile.Step{})
	if m := exec.Meta; m.CgroupParent != "" || m.Hostname != "" || len(m.Ulimit) > 0 || len(exec.Secretenv) > 0 || exec.CdiDevices != nil {
		t.Errorf("without being asked: %+v", m)
	}
	if r := about.LinuxResources; r.GetMemory() != 0 || r.GetCpuQuota() != 0 || r.GetCpuPeriod() != 0 {
		t.Errorf("without being asked: %+v", r)
	}
	exec, about = execution(t, compile.Step{
		Limits: pipeline.Limits{Memory: 64 << 20, CPUs: 3, PIDs: 17, FileSize: 4096}, Hostname: "fixed", Machine: "vm",
	})
	m := exec.Meta
	if r := about.LinuxResources; r.GetMemory() != 64<<20 || r.GetCpuQuota() != 3*int64(r.GetCpuPeriod()) || r.GetCpuPeriod() == 0 {
		t.Errorf("limits %+v", r)
	}
	limits := map[string]int64{}
	for _, u := range m.Ulimit {
		if limits[u.Name] = u.Hard; u.Soft != u.Hard {
			t.Errorf("limit %+v", u)
		}
	}
	if len(limits) != 2 || limits["nproc"] != 17 || limits["fsize"] != 4096 {
		t.Errorf("limits %v", limits)
	}
	if m.Hostname != "fixed" || m.CgroupParent != "vm" {
		t.Errorf("host name %q, machine %q", m.Hostname, m.CgroupParent)
	}
}

// TestSecrets: a secret with a path is a file, and no variable; one without is a
// variable, and no file. No value is in a definition.
func TestSecrets(t *testing.T) {
	exec, _ := execution(t, compile.Step{Secrets: []compile.Secret{{Name: "TOKEN"}, {Name: "NETRC", Mount: "/root/.netrc"}}})
	if env := exec.Secretenv; len(env) != 1 || env[0].Name != "TOKEN" || env[0].ID != "TOKEN" || env[0].Optional {
		t.Errorf("variables %v", env)
	}
	var files []*pb.Mount
	for _, m := range exec.Mounts {
		if m.MountType == pb.MountType_SECRET {
			files = append(files, m)
		}
	}
	if len(files) != 1 || files[0].Dest != "/root/.netrc" || files[0].SecretOpt.ID != "NETRC" || files[0].SecretOpt.Mode != 0o400 || files[0].SecretOpt.Optional {
		t.Errorf("files %v", files)
	}
}

// TestCaches: a command is never taken from BuildKit's cache. One with cache folders
// may not be told to ignore it, which would empty them: its workspace is new.
func TestCaches(t *testing.T) {
	if _, about := execution(t, compile.Step{}); !about.IgnoreCache {
		t.Error("the command may come from a cache")
	}
	exec, about := execution(t, compile.Step{Caches: []compile.Cache{{ID: "npm", Path: "/root/.npm"}}})
	if about.IgnoreCache {
		t.Error("the folders are emptied")
	}
	var found bool
	for _, m := range exec.Mounts {
		if m.MountType == pb.MountType_CACHE {
			found = m.Dest == "/root/.npm" && m.CacheOpt.ID == "npm" && m.CacheOpt.Sharing == pb.CacheSharingOpt_SHARED
		}
	}
	if !found {
		t.Errorf("mounts %v", exec.Mounts)
	}
}

// TestReportOverrides: a step cannot name the report itself.
func TestReportOverrides(t *testing.T) {
	exec, _ := execution(t, compile.Step{Report: "ours", Env: []pipeline.Var{{Name: compile.ReportVariable, Value: "theirs"}}})
	var all []string
	for _, v := range exec.Meta.Env {
		if strings.HasPrefix(v, compile.ReportVariable+"=") {
			all = append(all, v)
		}
	}
	if !slices.Equal(all, []string{compile.ReportVariable + "=ours"}) {
		t.Errorf("got %q", all)
	}
	exec, _ = execution(t, compile.Step{})
	if slices.ContainsFunc(exec.Meta.Env, func(v string) bool { return strings.HasPrefix(v, compile.ReportVariable+"=") }) {
		t.Errorf("nobody asked for a report: %q", exec.Meta.Env)
	}
}

// TestEnv: the image's variables lie below what every step has, and both below what
// the step declares. What is no variable is none.
func TestEnv(t *testing.T) {
	got := compile.Env([]string{"PATH=/opt", "HOME=/home", "A=1", "B=1=2", "=x", "none", "E="}, []pipeline.Var{{Name: "A", Value: "2"}, {Name: "TERM", Value: ""}})
	var all []string
	for _, v := range got {
		all = append(all, v.Name+"="+v.Value)
	}
	if want := []string{"A=2", "B=1=2", "E=", "HOME=/root", "LANG=C.UTF-8", "PATH=/opt", "TERM=", "USER=root"}; !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
}

// TestOutputFilter: what the engine lets through is at least what the patterns match.
// Where it reads a character otherwise than we do, it gets a "*" for the component.
func TestOutputFilter(t *testing.T) {
	for _, tt := range []struct {
		pattern pipeline.Pattern
		want    string
	}{
		{pipeline.Pattern{Text: "dist/azAZ09._-+@=,"}, "dist/azAZ09._-+@=,"},
		{pipeline.Pattern{Text: "a*b/c"}, "*/c"}, // a name with a star in it
		{pipeline.Pattern{Text: "a*b/c", Glob: true}, "a*b/c"},
		{pipeline.Pattern{Text: "a?b/c", Glob: true}, "*/c"},
		{pipeline.Pattern{Text: "[ab]/c", Glob: true}, "*/c"},
		{pipeline.Pattern{Text: "{a,b}/c", Glob: true}, "*/c"},
		{pipeline.Pattern{Text: `a\b/c`}, "*/c"},
		{pipeline.Pattern{Text: " a/c"}, "*/c"},
		{pipeline.Pattern{Text: "a\n/c"}, "*/c"},
		{pipeline.Pattern{Text: "é/c"}, "*/c"},
		{pipeline.Pattern{Text: "!a/c"}, "*/c"},
		{pipeline.Pattern{Text: "#a/c"}, "*/c"},
		{pipeline.Pattern{Text: "`/:/;/@/[/^/~"}, "*/*/*/@/*/*/*"},
		{pipeline.Pattern{Text: "out/**/x.o", Glob: true}, "out"},
		{pipeline.Pattern{Text: "out/**/x.o"}, "out/*/x.o"}, // a folder called **
		{pipeline.Pattern{Text: "**/x.o", Glob: true}, ""},  // everything
	} {
		include, exclude := compile.Step{Outputs: []pipeline.Pattern{tt.pattern}}.OutputFilter()
		if got := strings.Join(include, " "); got != tt.want || len(exclude) > 0 {
			t.Errorf("%q: let through %q less %q, want %q", tt.pattern.Text, include, exclude, tt.want)
		}
	}
}
