// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// finding is an executor that finds out the same about every step, and keeps
// the last job.
type finding struct {
	counting
	out  executor.Outcome
	last *executor.Job
}

// Run implements executor.Executor.
func (f finding) Run(ctx context.Context, j executor.Job, s executor.Streams) (executor.Outcome, error) {
	*f.last = j
	ran, err := f.counting.Run(ctx, j, s)
	out := f.out
	out.ExitCode, out.Duration, out.Engine, out.Image, out.Controls = ran.ExitCode, ran.Duration, ran.Engine, ran.Image, ran.Controls
	return out, err
}

// found makes a cached project of one step of that name, about which out is
// found out.
func found(t *testing.T, step string, out executor.Outcome) (*project, *counter, *executor.Job) {
	t.Helper()
	p, ran := cached(t, "steps: {a: {run: x, image: i, inputs: [], outputs: [o], "+step+"}}", nil, inMemory{})
	last := &executor.Job{}
	for level, e := range p.options.Executors {
		p.options.Executors[level] = finding{e.(counting), out, last}
	}
	return p, ran, last
}

// TestAHitRestatesWhatWasFoundOut compares the receipt of the run that made a
// result with that of a run that used it.
func TestAHitRestatesWhatWasFoundOut(t *testing.T) {
	of := func(s string) digest.Digest { return digest.Of([]byte(s)) }
	program := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(program, []byte("p"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, ran, _ := found(t, "network: recorded, caches: {npm: /root/.npm}, secrets: {T: {env: T}}", executor.Outcome{
		Fetched:    []executor.Fetch{{URL: "https://a", SHA256: digest.OfSHA256([]byte("a"))}},
		Read:       []executor.File{{Path: "r", Digest: of("r")}},
		Programs:   []executor.File{{Path: program, Digest: of("p")}},
		Unexpected: []string{"u"}, Modified: []string{"m"},
	})
	p.options.Environ = []string{"T=hunter2"}
	p.write("r", "r")
	made := p.run().Receipt.Steps[0]
	used := p.run().Receipt.Steps[0]
	if ran.take() != "a" || used.Cache != receipt.Hit {
		t.Fatalf("the second run is a %s", used.Cache)
	}
	for what, n := range map[string]int{"caches": len(made.Caches), "secrets": len(made.Secrets), "fetched": len(made.Fetched),
		"read": len(made.Read), "programs": len(made.Programs), "unexpected": len(made.Unexpected), "modified": len(made.Modified)} {
		if n != 1 {
			t.Errorf("the receipt has %d %s, want 1", n, what)
		}
	}
	used.Cache, used.Duration = made.Cache, made.Duration
	if d := cmp.Diff(made, used, cmp.AllowUnexported(digest.Digest{})); d != "" {
		t.Errorf("-made +used:\n%s", d)
	}
}

// TestSecretsEnterByKeyedHash looks for a secret wherever a run leaves something.
func TestSecretsEnterByKeyedHash(t *testing.T) {
	p, ran, last := found(t, "secrets: {E: {env: E}, F: {file: f, mount: /run/f}, C: {command: 'printf \"%s-c\\n\\n\" \"$E\"'}}", executor.Outcome{})
	p.write("f", "hunter-file\n")
	p.options.Environ = []string{"E=old", "E=hunter-env"}
	p.run()
	want := map[string]string{"C": "hunter-env-c", "E": "hunter-env", "F": "hunter-file\n"}
	for _, s := range last.Secrets {
		if got := string(s.Value.Reveal()); got != want[s.Name] {
			t.Errorf("secret %s is %q, want %q", s.Name, got, want[s.Name])
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("not handed over: %v", want)
	}
	err := filepath.WalkDir(p.path(".attest"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "hunter") {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if ran.take(); p.run() == nil || ran.take() != "" {
		t.Error("the same secrets, and the step ran again")
	}
	p.options.Environ = []string{"E=hunter-other"}
	quiet := p.options
	quiet.Sink = nil
	e, err := engine.Explain(context.Background(), quiet, "a")
	if err != nil || e.Reason != "secret C, E changed" {
		t.Errorf("got %q, %v", e.Reason, err)
	}
	if p.run(); ran.take() != "a" {
		t.Error("another secret, and the step did not run")
	}
	info, err := os.Stat(p.path(".attest/secret.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of the hashes: %v, %v", info, err)
	}
}

func TestSecretsThatCannotBeHad(t *testing.T) {
	for source, want := range map[string]string{
		"{env: ABSENT}":                      "has no ABSENT",
		"{file: absent}":                     "no such file",
		"{file: .}":                          "not a regular file",
		"{file: /dev/zero}":                  "not a regular file",
		"{command: 'echo why >&2; exit 3'}":  "exit status 3: why",
		"{command: 'echo why; exit 3'}":      "exit status 3: it wrote nothing to stderr",
		"{command: 'yes | head -c 2000000'}": "more than",
		"{command: 'printf a\\\\0b'}":        "NUL",
	} {
		p, ran, _ := found(t, "secrets: {S: "+source+"}", executor.Outcome{})
		if _, err := p.fail(); !strings.Contains(err.Error(), want) || ran.take() != "" {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
}

func TestStrictRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, step string
		out        executor.Outcome
		want       string
		ran        string
	}{
		{"caches", "caches: {npm: /x}", executor.Outcome{}, "attest.yaml:3:", ""},
		{"an open network", "network: open", executor.Outcome{}, "network: open is refused", ""},
		{"unexpected files", "", executor.Outcome{Unexpected: []string{"a", "b", "c", "d", "e", "f", "g"}}, "outside its outputs: a, b, c, d, e and 2 more", "a"},
		{"changed inputs", "", executor.Outcome{Modified: []string{"in"}}, "changed its inputs: in", "a"},
		{"undeclared inputs", "", executor.Outcome{Read: []executor.File{{Path: "r", Digest: digest.Of(nil)}}}, "without declaring it: r", "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, ran, last := found(t, tt.step, tt.out)
			p.run() // not strict: all of it is allowed
			ran.take()
			p.options.Strict = true
			if _, err := p.fail(); !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := ran.take(); got != tt.ran || tt.ran != "" && !last.Strict {
				t.Errorf("ran %q, strict %v", got, last.Strict)
			}
		})
	}
}

// TestStrictAsksForMore: a result that was made without --strict does not do for
// a strict run, but the other way round.
func TestStrictAsksForMore(t *testing.T) {
	p, ran, _ := found(t, "", executor.Outcome{})
	for _, tt := range []struct {
		strict bool
		ran    string
	}{{false, "a"}, {true, "a"}, {true, ""}, {false, ""}} {
		p.options.Strict = tt.strict
		p.run()
		if got := ran.take(); got != tt.ran {
			t.Errorf("strict %v: ran %q, want %q", tt.strict, got, tt.ran)
		}
	}
}

// TestJobsSayWhatIsAskedFor holds the job of an executor against attest.yaml.
func TestJobsSayWhatIsAskedFor(t *testing.T) {
	p, _, last := found(t, "limits: {memory: 1GB, cpus: 2}, network: {mode: recorded, allow: [a.org]}, caches: {npm: /x}", executor.Outcome{})
	p.options.Trace = true
	p.run()
	if want := (pipeline.Limits{Memory: 1e9, CPUs: 2}); last.Limits != want {
		t.Errorf("limits %+v, want %+v", last.Limits, want)
	}
	if last.Trace || last.Network != pipeline.NetworkRecorded || !cmp.Equal(last.NetworkAllow, []string{"a.org"}) ||
		!cmp.Equal(last.Caches, []executor.CacheFolder{{Name: "npm", Path: "/x"}}) {
		t.Errorf("the job is %+v", last) // a container is not traced
	}
}

// TestTraced has a step that was traced look for files, and makes one of them.
func TestTraced(t *testing.T) {
	p, ran, last := found(t, "", executor.Outcome{
		Missing: []string{"later", "never"}, MissingPrograms: []string{"pandoc"}, Unread: []string{"u"},
		Seen: &executor.Seen{Opened: []string{"of-hunter2", "r", "\xff"}, Looked: []string{"l"}, Wrote: []string{"d/"}, Unseen: []string{"why"}},
	})
	p.write("attest.yaml", head+"steps: {a: {run: x, inputs: [], outputs: [o], secrets: {T: {env: T}}}}\n")
	p.options.Environ = []string{"T=hunter2"}
	p.replan()
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := engine.LastTrace(root, "attest.yaml", "a"); !errors.Is(err, engine.ErrNotTraced) {
		t.Errorf("nothing was traced yet: %v", err)
	}
	p.run() // not traced by request
	ran.take()
	p.options.Trace = true
	var told *event.Findings
	p.tell(&told)
	for _, tt := range []struct {
		what, ran string
		change    func()
	}{
		{"the last run was not traced", "a", func() {}},
		{"nothing", "", func() {}},
		{"what was missing is there", "a", func() { p.write("later", "x") }},
	} {
		tt.change()
		step := p.run().Receipt.Steps[0]
		if got := ran.take(); got != tt.ran {
			t.Errorf("%s: ran %q, want %q", tt.what, got, tt.ran)
		}
		want := &event.Findings{Traced: true, Missing: []string{"later", "never"}, MissingPrograms: []string{"pandoc"}, Unread: []string{"u"}, Unseen: []string{"why"}}
		if d := cmp.Diff(want, told); d != "" {
			t.Errorf("%s: told (-want +got):\n%s", tt.what, d)
		}
		if !cmp.Equal(step.Missing, want.Missing) || !cmp.Equal(step.MissingPrograms, want.MissingPrograms) || !cmp.Equal(step.Unread, want.Unread) {
			t.Errorf("%s: the receipt has missing %q, programs %q, unread %q", tt.what, step.Missing, step.MissingPrograms, step.Unread)
		}
	}
	if !last.Trace {
		t.Error("the job asks for no trace")
	}
	got, err := engine.LastTrace(root, "attest.yaml", "a")
	want := &engine.Trace{Schema: "attest.trace/v1", Pipeline: "attest.yaml", Step: "a", Opened: []string{"r"}, Looked: []string{"l"}, Missing: []string{"later", "never"},
		Unseen: []string{"why"}, Outputs: []string{"o"}, Unexpected: []string{"d/"}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("the trace (%v, -want +got):\n%s", err, d)
	}
	if _, err := engine.LastTrace(root, "other.yaml", "a"); !errors.Is(err, engine.ErrNotTraced) {
		t.Errorf("of another pipeline: %v", err)
	}
}
