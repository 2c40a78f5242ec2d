// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/executor"
)

const twice = "steps: {a: {run: x, inputs: [], outputs: [o, d/?], attestation: {reproducible: true}}}"

// runs makes a project of one step that is run twice. do is told which run it is.
func runs(t *testing.T, do func(n int, j job) (int, error)) (*project, *counter) {
	t.Helper()
	n := 0
	return cached(t, twice, nil, inMemory{"a": func(_ context.Context, j job) (int, error) {
		n++
		return do(n, j)
	}})
}

func TestTwiceTheSame(t *testing.T) {
	t.Parallel()
	var jobs []executor.Job
	p, ran := runs(t, func(_ int, j job) (int, error) {
		jobs = append(jobs, j.Job)
		return 0, j.put("o", "same")
	})
	p.options.Plan.Steps[0].Attestation.Reproducible = false
	p.run()
	p.replan()
	if ran.take() != "a" {
		t.Fatal("it did not run once")
	}
	rec := p.run()
	if ran.take() != "a a" {
		t.Error("a result that was made once does for a step that must be run twice")
	}
	r := rec.Receipt.Steps[0].Reproduction
	if r == nil || r.Verdict != receipt.Identical || !slices.Equal(r.Varied, []string{executor.VariedTime}) {
		t.Errorf("got %+v", r)
	}
	if first, second := jobs[1], jobs[2]; first.Variation != nil || second.Variation == nil || first.Staging == second.Staging ||
		second.Variation.Hostname == "" || second.Variation.Umask == 0 || !second.Variation.ReverseDirs || second.Variation.Project == "" {
		t.Errorf("the second job is %+v", second.Variation)
	}
	if again := p.run().Receipt.Steps[0]; ran.take() != "" || again.Reproduction == nil || again.Cache != receipt.Hit {
		t.Errorf("a hit says %+v", again.Reproduction)
	}
}

// What the first run does at its end, and the second at its beginning, is to have
// another time even where that is told in steps of two seconds.
func TestTwiceApart(t *testing.T) {
	t.Parallel()
	var ended, began time.Time
	p, _ := runs(t, func(n int, j job) (int, error) {
		if n == 2 {
			began = time.Now()
			return 0, j.put("o", "same")
		}
		time.Sleep(300 * time.Millisecond)
		defer func() { ended = time.Now() }()
		return 0, j.put("o", "same")
	})
	p.run()
	if apart := began.Sub(ended); apart < 2*time.Second {
		t.Errorf("the second run began %v after the first had ended", apart)
	}
}

func TestTwiceDifferent(t *testing.T) {
	t.Parallel()
	p, ran := runs(t, func(n int, j job) (int, error) {
		if n == 2 {
			return 0, j.put("o", "at 10:42:39")
		}
		return 0, j.put("o", "at 10:42:37")
	})
	rec, err := p.fail()
	for _, want := range []string{"not reproducible: o, byte 11: timestamp", "attest.yaml:3:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if ran.take() != "a a" || p.exists("o") {
		t.Error("a difference, and the outputs landed")
	}
	want := []receipt.Difference{{Path: "o", Offset: 11, Cause: "timestamp"}}
	if r := rec.Receipt.Steps[0].Reproduction; r == nil || r.Verdict != receipt.Different || !slices.Equal(r.Differences, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

// TestTwiceWithoutWhatWasThere: the second run finds its staging folder empty,
// and one that fails, or leaves less, fails the step.
func TestTwiceAndTheSecondFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		second func(j job) (int, error)
		want   string
	}{
		"exit code":  {func(j job) (int, error) { _ = say(j.Stderr, "one\nbad luck\n"); return 7, nil }, "exit code 7 when it was run a second time, where the time differed: bad luck"},
		"no outputs": {func(job) (int, error) { return 0, nil }, `left no "o"`},
		"more":       {func(j job) (int, error) { _ = j.put("d/x", "1"); return 0, j.put("o", "same") }, "d/x: added"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := runs(t, func(n int, j job) (int, error) {
				if left, err := os.ReadDir(j.Staging); err != nil || len(left) > 0 {
					t.Errorf("run %d begins with %v, %v", n, left, err)
				}
				if n == 2 {
					return tt.second(j)
				}
				return 0, j.put("o", "same")
			})
			if _, err := p.fail(); !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDiffoscopeWritesAReport(t *testing.T) {
	t.Parallel()
	p, _ := runs(t, func(n int, j job) (int, error) { return 0, j.put("o", []string{"good", "evil"}[n-1]) })
	p.options.Diffoscope = p.path("diffoscope")
	script := "#!/bin/sh\necho \"$1 $5/o $6/o: $(cat \"$5/o\" \"$6/o\")\" >\"$2\"\nexit 1\n"
	if err := os.WriteFile(p.options.Diffoscope, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p.options.Environ = []string{"PATH=/usr/bin:/bin"}
	rec, err := p.fail()
	report, readErr := os.ReadFile(filepath.Join(rec.LogDir, "a.diffoscope.txt"))
	if readErr != nil || !strings.Contains(string(report), "goodevil") {
		t.Errorf("the report is %q, %v (%v)", report, readErr, err)
	}
}

// TestTwiceDeterministic: what is fixed is not varied.
func TestTwiceDeterministic(t *testing.T) {
	t.Parallel()
	var last executor.Job
	p, _ := runs(t, func(_ int, j job) (int, error) { last = j.Job; return 0, j.put("o", "same") })
	p.options.Deterministic = &executor.Determinism{}
	p.run()
	if last.Deterministic == nil || last.Variation == nil || *last.Variation != (executor.Variation{}) {
		t.Errorf("the second job varies %+v", last.Variation)
	}
}
