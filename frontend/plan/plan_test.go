// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

// parse reads a pipeline of these steps, in YAML.
func parse(t testing.TB, steps string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte("version: \"0.1\"\nname: x\nsteps:\n" + steps)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func planned(t testing.TB, steps string, only ...string) *plan.Plan {
	t.Helper()
	p, err := plan.New(parse(t, steps), only...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shape writes a plan as one line: name(needs)depth>dependents.
func shape(p *plan.Plan) string {
	var b strings.Builder
	for i, s := range p.Steps {
		if s.Index != i {
			return fmt.Sprintf("step %d has index %d", i, s.Index)
		}
		fmt.Fprintf(&b, "%s%v%d%v ", s.Name, s.Needs, s.Depth, s.Dependents)
	}
	return strings.TrimSpace(b.String())
}

const diamond = `
  pack: {run: x, needs: [test, build]}
  lint: {run: x}
  build: {run: x, needs: [fetch]}
  fetch: {run: x}
  test: {run: x, needs: [build]}
  docs: {run: x}
`

func TestNew(t *testing.T) {
	for _, c := range []struct {
		only []string
		want string
	}{
		{nil, "lint[]0[] fetch[]0[2] build[1]1[3 4] test[2]2[4] pack[2 3]3[] docs[]0[]"},
		{[]string{"build"}, "fetch[]0[1] build[0]1[]"},
		{[]string{"docs", "build", "docs"}, "fetch[]0[1] build[0]1[] docs[]0[]"},
		{[]string{"pack"}, "fetch[]0[1] build[0]1[2 3] test[1]2[3] pack[1 2]3[]"},
	} {
		if diff := cmp.Diff(c.want, shape(planned(t, diamond, c.only...))); diff != "" {
			t.Errorf("%q: %s", c.only, diff)
		}
	}
}

func TestNewNoStep(t *testing.T) {
	p, err := plan.New(parse(t, diamond), "biuld", "docs", "zzz")
	all := source.All(err)
	if p != nil || len(all) != 2 || !errors.Is(err, plan.ErrNoStep) {
		t.Fatalf("%v, %v", p, err)
	}
	if all[0].Msg != `no step is called "biuld"` || all[0].Hints[0] != "did you mean `build`?" {
		t.Errorf("%v %q", all[0], all[0].Hints)
	}
	if want := "the steps are: pack, lint, build, fetch, test, docs"; all[1].Hints[0] != want {
		t.Errorf("%q", all[1].Hints)
	}
}

func TestAnalyse(t *testing.T) {
	sec := time.Second
	p := planned(t, diamond) // lint fetch build test pack docs
	want := plan.Analysis{
		CriticalPath: []int{1, 2, 3, 4},
		Levels:       [][]int{{0, 1, 5}, {2}, {3}, {4}},
		Depth:        4, Width: 3,
		Bottlenecks: []plan.Bottleneck{{Step: 1, Blocks: 3}, {Step: 2, Blocks: 2}, {Step: 3, Blocks: 1}},
	}
	if diff := cmp.Diff(want, p.Analyse(nil)); diff != "" {
		t.Error("without durations:", diff)
	}
	want.CriticalPath, want.CriticalTime, want.Measured = []int{0}, 9*sec, true
	all := map[string]time.Duration{"lint": 9 * sec, "fetch": sec, "build": 2 * sec, "test": 0, "pack": sec, "docs": -sec, "gone": sec}
	if diff := cmp.Diff(want, p.Analyse(all)); diff != "" {
		t.Error("with all durations:", diff)
	}
	want.CriticalPath, want.CriticalTime, want.Measured = []int{1, 2, 3, 4}, 15*sec, false
	if diff := cmp.Diff(want, p.Analyse(map[string]time.Duration{"lint": 5 * sec, "build": 3 * sec})); diff != "" {
		t.Error("with some durations:", diff)
	}
}

// TestAnalyseLarge counts what a chain of many steps blocks, across the windows
// that the counting is done in.
func TestAnalyseLarge(t *testing.T) {
	const n = 10_000
	var b strings.Builder
	b.WriteString("  s0: {run: x}\n  s1: {run: x, needs: [s0]}\n")
	for i := 2; i < n; i++ {
		fmt.Fprintf(&b, "  s%d: {run: x, needs: [s%d, s%d]}\n", i, i-1, i-2)
	}
	p := planned(t, b.String())
	start := time.Now()
	a := p.Analyse(nil)
	t.Logf("%d steps in %v", n, time.Since(start))
	if len(a.CriticalPath) != n || a.Depth != n || a.Width != 1 || len(a.Bottlenecks) != 10 {
		t.Errorf("path %d, depth %d, width %d", len(a.CriticalPath), a.Depth, a.Width)
	}
	for i, n9 := range a.Bottlenecks {
		if n9.Step != i || n9.Blocks != n-1-i {
			t.Errorf("bottleneck %d is %+v", i, n9)
		}
	}
}
