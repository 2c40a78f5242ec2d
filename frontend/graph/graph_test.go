// SPDX-License-Identifier: Apache-2.0

package graph_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/graph"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

const text = `version: "0.1"
name: my-project
description: |
  What it is for: <b>"everything"</b>
  and a second line.
env: {GREETING: "<hi> & \"bye\""}
steps:
  fetch:
    run: go mod download
    image: golang:1.26
    network: open
    outputs: [vendor/]
  lint: {run: [go, vet, "./..."], image: golang:1.26, needs: [fetch], attestation: {type: test}}
  build:
    run: |
      #!/bin/sh
      go build -o dist/app .
    image: "oci-layout://my \"images\" & <größe>:latest"
    inputs: ["**/*.go", "!**/*_test.go", go.mod, "go.sum?"]
    outputs: [dist/, "build.log?"]
    needs: [fetch]
    pass_env: [CI]
    working_dir: cmd/app
    timeout_secs: 1.5
    cache: false
  test: {run: go test ./..., image: golang:1.26, needs: [build, fetch], inputs: []}
  "1.2_end-3": {run: "printf '\\e[31m'", needs: [lint, test]}
  docs: {run: make docs}
`

func drawn(t *testing.T, text string, durations map[string]time.Duration) map[string][]byte {
	t.Helper()
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	planned, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	a := planned.Analyse(durations)
	return map[string][]byte{
		"txt": graph.Text(planned, a), "dot": graph.DOT(planned, a), "mmd": graph.Mermaid(planned, a),
		"svg": graph.SVG(planned, a), "json": graph.JSON(planned, a),
	}
}

// TestGolden compares every format with its file in testdata; ATTEST_UPDATE=1
// writes the files anew.
func TestGolden(t *testing.T) {
	cases := map[string]map[string]time.Duration{
		"plain":    nil,
		"measured": {"fetch": 2 * time.Second, "lint": time.Minute, "build": 3 * time.Second, "test": time.Second, "1.2_end-3": 0, "docs": 1500 * time.Millisecond},
	}
	for name, durations := range cases {
		for format, got := range drawn(t, text, durations) {
			file := filepath.Join("testdata", name+"."+format)
			if os.Getenv("ATTEST_UPDATE") != "" {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s: %s", file, diff)
			}
		}
	}
}

// TestStable draws one plan many times.
func TestStable(t *testing.T) {
	want := drawn(t, text, nil)
	for range 25 {
		if diff := cmp.Diff(want, drawn(t, text, nil)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestEscapes checks that what users write ends no string and no element.
func TestEscapes(t *testing.T) {
	files := drawn(t, text, nil)
	decoder := xml.NewDecoder(bytes.NewReader(files["svg"]))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal("svg:", err)
		}
	}
	var doc struct {
		Steps []struct {
			Name, Image, Command string
			Inputs               []string
			Env                  map[string]string
		}
		Analysis map[string]any
	}
	if err := json.Unmarshal(files["json"], &doc); err != nil {
		t.Fatal("json:", err)
	}
	build := doc.Steps[2]
	if build.Name != "build" || build.Image != `oci-layout://my "images" & <größe>:latest` || build.Env["GREETING"] != `<hi> & "bye"` {
		t.Errorf("%+v", build)
	}
	if doc.Steps[1].Inputs != nil || doc.Steps[3].Inputs == nil {
		t.Error("everything and nothing are one in JSON")
	}
	for format, file := range files {
		if bytes.ContainsRune(file, 0x1b) || !bytes.HasSuffix(file, []byte("\n")) {
			t.Errorf("%s holds an escape, or does not end with a line", format)
		}
	}
	if strings.Contains(string(files["dot"]), `"images" &`) {
		t.Error("a quote in an image ends a string of DOT")
	}
}

// TestLarge draws many steps side by side.
func TestLarge(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: \"0.1\"\nname: x\nsteps:\n")
	for i := range 2000 {
		b.WriteString("  s" + strings.Repeat("x", i%40) + "-" + string(rune('a'+i%26)) + strconv.Itoa(i) + ": {run: x}\n")
	}
	start := time.Now()
	drawn(t, b.String(), nil)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}
