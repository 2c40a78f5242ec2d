// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

// BenchmarkInputs resolves the inputs of one step in projects of many files,
// once with everything and once by patterns.
func BenchmarkInputs(b *testing.B) {
	for _, n := range []int{20_000, 100_000} {
		dir := b.TempDir()
		for i := range n {
			sub := filepath.Join(dir, fmt.Sprintf("p%d/src/d%d", i/1000, i/20%50))
			if i%20 == 0 {
				if err := os.MkdirAll(sub, 0o777); err != nil {
					b.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d.go", i)), nil, 0o666); err != nil {
				b.Fatal(err)
			}
		}
		ignore := strings.Repeat("*.o\nnode_modules/\n/build/\nx/**/y\n", 10)
		if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(ignore), 0o666); err != nil {
			b.Fatal(err)
		}
		for _, inputs := range []string{"", `, inputs: ["**/*.go", "!**/*_test.go"]`} {
			b.Run(fmt.Sprintf("files=%d%s", n, inputs), func(b *testing.B) {
				benchInputs(b, dir, n, "steps: {a: {run: x, outputs: [dist/]"+inputs+"}}")
			})
		}
	}
}

func benchInputs(b *testing.B, dir string, n int, steps string) {
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte("version: \"0.1\"\nname: x\n" + steps + "\n")})
	if err != nil {
		b.Fatal(err)
	}
	planned, err := plan.New(p)
	if err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.ReportAllocs()
	for b.Loop() {
		entries, err := planned.Inputs(b.Context(), root, 0)
		if err != nil || len(entries) < n {
			b.Fatalf("%d entries, %v", len(entries), err)
		}
	}
}
