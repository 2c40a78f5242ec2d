// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// TestDeterministic looks at what a step is given, what its outputs become, and
// what the receipt says.
func TestDeterministic(t *testing.T) {
	committed := time.Unix(1e9, 123)
	var last executor.Job
	p, ran := cached(t, `
env: {PYTHONHASHSEED: "7"}
steps: {a: {run: x, inputs: [], outputs: [o/], pass_env: [TZ]}}`, map[string]string{"mine": "m"}, inMemory{"a": func(_ context.Context, j job) (int, error) {
		last = j.Job
		if err := os.Link(j.Root+"/mine", j.Staging+"/o-link"); err == nil {
			_ = os.Mkdir(j.Staging+"/o", 0o755)
			_ = os.Rename(j.Staging+"/o-link", j.Staging+"/o/link")
			_ = os.Symlink("../../mine", j.Staging+"/o/symlink")
		}
		return 0, j.put("o/d/f", "x")
	}})
	p.options.Environ = []string{"TZ=Pacific/Chatham"}
	before, err := os.Stat(p.path("mine"))
	if err != nil {
		t.Fatal(err)
	}
	p.run()
	p.options.Deterministic = engine.Deterministic(committed)
	rec := p.run()
	if ran.take() != "a a" {
		t.Error("the key of a deterministic step is that of another")
	}
	env := map[string]string{}
	for _, v := range last.Env {
		env[v.Name] = v.Value
	}
	if !slices.IsSortedFunc(last.Env, func(a, b pipeline.Var) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("variables are not ordered: %v", last.Env)
	}
	for name, want := range map[string]string{
		"SOURCE_DATE_EPOCH": "1000000000", "LC_ALL": "C.UTF-8", "PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0",
		"TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7", // what a step asks for itself wins
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"o/d/f", "o/d", "o", "o/link", "o/symlink"} {
		if info, err := os.Lstat(p.path(name)); err != nil || !info.ModTime().Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s: %v, %v", name, info.ModTime(), err)
		}
	}
	if after, err := os.Stat(p.path("mine")); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a file of the user's got another time: %v, %v", after.ModTime(), err)
	}
	s := rec.Receipt.Steps[0]
	if s.Env["SOURCE_DATE_EPOCH"] != "1000000000" || !slices.Contains(s.Controls, engine.ControlEnvironment) || !slices.IsSorted(s.Controls) {
		t.Errorf("the receipt says %v, %v", s.Env, s.Controls)
	}
	p.run()
	p.options.Deterministic = engine.Deterministic(committed.Add(time.Hour))
	if p.run(); ran.take() != "a" {
		t.Error("another commit's time, and the step did not run")
	}
}

// TestDeterministicByDeclaration: a step that declares its time does not depend
// on the commit's.
func TestDeterministicByDeclaration(t *testing.T) {
	p, ran := cached(t, `steps: {a: {run: x, inputs: [], outputs: [o], env: {SOURCE_DATE_EPOCH: 86400}}}`, nil, inMemory{})
	p.options.Deterministic = engine.Deterministic(time.Time{})
	if got := p.options.Deterministic.Epoch; !got.Equal(time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("without a commit, the time is %v", got)
	}
	p.run()
	p.options.Deterministic = engine.Deterministic(time.Unix(1e9, 0))
	p.run()
	if info, err := os.Stat(p.path("o")); ran.take() != "a" || err != nil || info.ModTime().Unix() != 86400 {
		t.Errorf("it ran again, or its time is %v, %v", info.ModTime(), err)
	}
}
