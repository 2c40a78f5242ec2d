// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

const head = "version: \"0.1\"\nname: x\n"

// hostile are files that cost nothing to write. Each must be refused quickly
// and in little memory.
func hostile() map[string]string {
	list := "x, "
	bomb := head + "steps:\n"
	for i := range 12 {
		refs := strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10)
		if i == 0 {
			refs = strings.Repeat("lol, ", 10)
		}
		bomb += fmt.Sprintf("  s%d: {run: x, inputs: &a%d [%s]}\n", i, i, refs)
	}
	wide := head + "steps:\n  s: {run: x, inputs: &in [" + strings.Repeat("x, ", 100_000) + "]}\n"
	env := head + "env: {"
	for i := range 10_000 {
		env += fmt.Sprintf("V%d: x, ", i)
	}
	env += "}\nsteps:\n"
	for i := range 20_000 {
		wide += fmt.Sprintf("  s%d: {run: x, inputs: *in}\n", i)
		env += fmt.Sprintf("  s%d: {run: x, env: {A: b}}\n", i)
	}
	return map[string]string{
		"billion laughs":      bomb,
		"wide aliases":        wide,
		"shared environment":  env,
		"deep flow":           head + "steps: " + strings.Repeat("[", 100_000),
		"deep blocks":         head + "steps:\n" + strings.Repeat("- ", 100_000),
		"deep maps":           head + "steps: " + strings.Repeat("{a: ", 100_000),
		"deep keys":           head + "steps: " + strings.Repeat("? ", 100_000),
		"long list":           head + "steps: [" + strings.Repeat(list, 5_000_000) + "]",
		"many keys":           head + strings.Repeat("a: b\n", 3_000_000),
		"one key many times":  head + strings.Repeat("a: b\n", 300_000),
		"long key":            head + strings.Repeat("a", 15<<20) + ": x\n",
		"long value":          head + "steps: " + strings.Repeat("a", 15<<20) + "\n",
		"quoted line ends":    head + "steps: \"" + strings.Repeat("\n", 15<<20) + "\"\n",
		"anchors":             head + "steps: " + strings.Repeat("&a ", 1_000_000),
		"too large":           head + strings.Repeat("#", 17<<20),
		"zeros":               strings.Repeat("\x00", 16<<20),
		"executable":          "\x7fELF\x02\x01\x01" + strings.Repeat("\x00\xff", 1<<20),
		"utf-16":              "\xff\xfev\x00e\x00",
		"unknown needs":       head + "steps:\n  s: {run: x, needs: [" + manyNames(100_000) + "]}\n",
		"globs in one folder": head + "steps:\n" + manySteps(20_000, `outputs: ["**/%d.o"]`),
		"one output":          head + "steps:\n" + manySteps(20_000, "outputs: [dist/]"),
		"long cycle":          head + "steps:\n" + ring(20_000),
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "name%d, ", i)
	}
	return b.String()
}

func manySteps(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {run: x, %s}\n", i, strings.ReplaceAll(format, "%d", fmt.Sprint(i)))
	}
	return b.String()
}

func ring(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {run: x, needs: [s%d]}\n", i, (i+1)%n)
	}
	return b.String()
}

// TestHostile allows many times what was measured on two idle cores, where
// nothing here took longer than a second and a half, for cores are not idle.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: data})
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err == nil || p != nil {
				t.Fatal("it was accepted")
			}
			all := source.All(err)
			if len(all) > 101 {
				t.Errorf("%d errors", len(all))
			}
			if n := len(err.Error()); n > 64<<10 {
				t.Errorf("the error is %d bytes long", n)
			}
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%v, %d MiB allocated: %v", took.Round(time.Millisecond), allocated, all[0])
			if took > 20*time.Second || allocated > 1000 {
				t.Errorf("took %v and allocated %d MiB", took, allocated)
			}
		})
	}
}

// TestLarge reads what is large and honest.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = 100_000
	var b strings.Builder
	b.WriteString(head + "env: {A: 1, B: 2}\nsteps:\n")
	for i := range n {
		fmt.Fprintf(&b, "  step-%d:\n    run: make %d\n    inputs: [src/%d/, go.mod, \"**/*.go\", lib/]\n    outputs: [out/%d/]\n    env: {C: 3}\n", i, i, i, i)
		if i > 0 {
			fmt.Fprintf(&b, "    needs: [step-%d]\n", i-1)
		}
	}
	start := time.Now()
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(b.String())})
	took := time.Since(start)
	if err != nil || len(p.Steps) != n {
		t.Fatal(err)
	}
	t.Logf("%d steps, %d MiB, in %v", n, b.Len()>>20, took)
	if took > 40*time.Second {
		t.Errorf("took %v", took)
	}
}
