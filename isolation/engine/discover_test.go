// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// TestDiscoveredInputsDecide changes, one at a time, what a step was found to
// depend on, and puts it back.
func TestDiscoveredInputsDecide(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "gcc")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(tool, "one")
	p, ran, _ := found(t, "env: {A: b}", executor.Outcome{
		Read:     []executor.File{{Path: "other"}, {Path: "src/x.h"}},
		Programs: []executor.File{{Path: tool}},
	})
	p.write("src/x.h", "one")
	p.write("other", "one")
	settle()
	step := p.run().Receipt.Steps[0]
	ran.take()
	want := digest.Of([]byte("one"))
	if len(step.Read) != 2 || step.Read[1] != (receipt.File{Path: "src/x.h", Hash: want}) || len(step.Programs) != 1 || step.Programs[0].Hash != want {
		t.Fatalf("read %v, programs %v", step.Read, step.Programs)
	}
	for _, test := range []struct {
		name, reason string
		change       func()
	}{
		{"nothing", "", func() {}},
		{"a time", "", func() {
			if err := os.Chtimes(p.path("other"), time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file", "undeclared input changed: src/x.h", func() { p.write("src/x.h", "two") }},
		{"a file back", "undeclared input changed: src/x.h", func() { p.write("src/x.h", "one") }},
		{"a file gone", "undeclared input changed: other", func() {
			if err := os.Remove(p.path("other")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a program", "program changed: " + tool, func() { p.write("other", "one"); write(tool, "two") }},
	} {
		test.change()
		settle()
		if test.name == "a program" { // the file that was gone is back, and was not known to the last result
			p.run()
			ran.take()
			write(tool, "three")
			settle()
		}
		reason := p.lastReason()
		step := p.run().Receipt.Steps[0]
		again := ran.take() != ""
		if again != (test.reason != "") || (step.Cache == receipt.Hit) == again {
			t.Errorf("%s: ran again: %t, cache %s", test.name, again, step.Cache)
		}
		if *reason != test.reason {
			t.Errorf("%s: reason %q, want %q", test.name, *reason, test.reason)
		}
	}
}

// TestALinkThatWasFollowedDecides: what it leads to stays as it is.
func TestALinkThatWasFollowedDecides(t *testing.T) {
	p, ran, _ := found(t, "", executor.Outcome{Read: []executor.File{{Path: "current"}, {Path: "v1"}}})
	p.write("v1", "one")
	p.write("v2", "two")
	link := func(to string) {
		t.Helper()
		_ = os.Remove(p.path("current"))
		if err := os.Symlink(to, p.path("current")); err != nil {
			t.Fatal(err)
		}
		settle()
	}
	link("v1")
	if step := p.run().Receipt.Steps[0]; step.Read[0] != (receipt.File{Path: "current", Hash: digest.Of([]byte("v1"))}) {
		t.Errorf("read %v", step.Read)
	}
	for _, want := range []string{"", "a", ""} {
		if ran.take(); want != "" {
			link("v2")
		}
		if p.run(); ran.take() != want {
			t.Errorf("ran again: %t, want %t", want == "", want != "")
		}
	}
}

// TestWhatAProcessReads is the same with a real one.
func TestWhatAProcessReads(t *testing.T) {
	p := withProcesses(t, "steps: {s: {run: \"cat in hidden >out\", inputs: [in], outputs: [out]}}\n", map[string]string{"in": "1", "hidden": "2"})
	p.options.NoCache = false
	settle()
	step := p.run().Receipt.Steps[0]
	if !slices.Contains(step.Controls, process.ControlReadsTraced) && !slices.Contains(step.Controls, process.ControlOpensTraced) {
		if os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" {
			t.Fatalf("nobody is told what a step reads: %q", step.Controls)
		}
		t.Skip("this user is not told what a step reads")
	}
	if len(step.Read) != 1 || step.Read[0].Path != "hidden" {
		t.Errorf("read %v", step.Read)
	}
	if again := p.run().Receipt.Steps[0]; again.Cache != receipt.Hit {
		t.Fatalf("nothing changed, and the step is a %s", again.Cache)
	}
	p.write("hidden", "3")
	if again := p.run().Receipt.Steps[0]; again.Cache == receipt.Hit || p.read("out") != "13" {
		t.Errorf("a file that the step read has changed: %s, out holds %q", again.Cache, p.read("out"))
	}
}
