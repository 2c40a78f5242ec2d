// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Covering finds an output at every depth and of every length, and goes by whole
// names, not by how long they are.
func TestWritersCovering(t *testing.T) {
	long := strings.Repeat("a", 200) + "/" + strings.Repeat("b", 200)
	text := fmt.Sprintf(`version: "0.1"
name: p
steps:
  file: {run: x, outputs: [out/file]}
  folder: {run: x, outputs: [dist/]}
  glob: {run: x, outputs: ["lib/*.so"]}
  long: {run: x, outputs: [%s]}
`, long)
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	w := p.Writers()
	for path, want := range map[string]string{
		"out/file":         "file",
		"out/elif":         "", // as long
		"out":              "",
		"dist/a/b/c":       "folder",
		"sidt/a/b/c":       "",
		"lib/x.so":         "glob",
		"lib/x.a":          "",
		long:               "long",
		long + "/below/it": "long",
		long + "c":         "",
		"c" + long[1:]:     "",
	} {
		var got []string
		w.Covering(path, func(step int, _ *pipeline.Pattern) bool {
			got = append(got, p.Steps[step].Name)
			return true
		})
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%.40s (%d): covered by %q, want %q", path, len(path), got, want)
		}
	}
	var none pipeline.Writers
	none.Covering("a", func(int, *pipeline.Pattern) bool { t.Error("nobody writes it"); return false })
}
