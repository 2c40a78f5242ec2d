// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// TestRecordedNetwork is the life of a lock: what a step fetches is recorded,
// locked, kept to, and moved.
func TestRecordedNetwork(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	w := need(t)
	var content atomic.Value
	content.Store("first")
	l, err := net.Listen("tcp", buildkitdtest.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(rw, r)
			return
		}
		_, _ = io.WriteString(rw, content.Load().(string))
	})}}
	server.Start()
	defer server.Close()
	dir := w.project(t, strings.NewReplacer("URL", server.URL, "HOST", buildkitdtest.Address).Replace(`
version: "0.1"
name: fetches
image: $IMAGE
steps:
  deps:
    run: wget -q -O dep URL/dep
    inputs: []
    outputs: [dep]
    network: {mode: recorded, allow: [HOST]}
`))
	w.attest(t, dir, "run", "--sign", "--verify").want(t, 0)
	if text := read(t, receipt(t, dir)); !strings.Contains(text, server.URL+"/dep") || !strings.Contains(text, "network-recorded") {
		t.Errorf("the receipt does not say what was fetched:\n%s", text)
	}
	statements, err := filepath.Glob(filepath.Join(dir, ".attest/attestations/*.intoto.jsonl"))
	if err != nil || len(statements) == 0 {
		statements, _ = filepath.Glob(filepath.Join(dir, ".attest/*/*.dsse.json"))
	}
	if len(statements) == 0 {
		t.Error("there is no statement")
	}

	w.attest(t, dir, "run", "--locked").want(t, 10) // there is no lock
	r := w.attest(t, dir, "pipeline", "lock", "--sign").want(t, 0)
	if path := receipt(t, dir); !strings.Contains(r.stdout, "what ran for it: "+strings.TrimPrefix(path, dir+"/")) {
		t.Errorf("the receipt of what ran for the lock is not named:\n%s", r.stdout)
	} else {
		w.attest(t, dir, "verify", path).want(t, 0)
	}
	locked := read(t, filepath.Join(dir, "attest.lock"))
	if !strings.Contains(locked, server.URL+"/dep") || !strings.Contains(locked, w.image()) {
		t.Errorf("the lock:\n%s", locked)
	}
	if r := w.attest(t, dir, "run", "--locked").want(t, 0); !strings.Contains(r.stderr, "cache hit") {
		t.Errorf("what was run for the lock is run again:\n%s", r.stderr)
	}

	content.Store("second")
	r = w.attest(t, dir, "run", "--locked", "--no-cache").want(t, 3)
	for _, want := range []string{server.URL + "/dep", "attest.lock wants sha256:a7937b64", "got sha256:16367aac", "attest run --update"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("missing %q in:\n%s", want, r.stderr)
		}
	}
	if got := read(t, filepath.Join(dir, "dep")); got != "first" {
		t.Errorf("what was refused has landed: %q", got)
	}
	if r := w.attest(t, dir, "run", "--no-cache").want(t, 0); !strings.Contains(r.stderr, "warning: deps: fetched") {
		t.Errorf("without --locked nobody is warned:\n%s", r.stderr)
	}
	w.attest(t, dir, "run", "--update").want(t, 0)
	if moved := read(t, filepath.Join(dir, "attest.lock")); moved == locked {
		t.Error("the lock did not move")
	}
	w.attest(t, dir, "run", "--locked", "--expect-cached").want(t, 0)

	// A URL that is not locked does not leave the machine.
	write(t, filepath.Join(dir, "attest.yaml"), strings.Replace(read(t, filepath.Join(dir, "attest.yaml")), "/dep\n", "/other || touch dep\n", 1))
	r = w.attest(t, dir, "run", "--locked").want(t, 3)
	if !strings.Contains(r.stderr, "attest.lock does not have "+server.URL+"/other") {
		t.Errorf("what is not locked:\n%s", r.stderr)
	}

	// A step that fails says what it had until then, what it got nothing from, and
	// how to let it go where it wanted to.
	fails := "wget -q -O - URL/dep; wget -q -O - http://other.example/x || wget -q -O dep URL/missing"
	write(t, filepath.Join(dir, "attest.yaml"), strings.Replace(read(t, filepath.Join(dir, "attest.yaml")),
		"wget -q -O dep "+server.URL+"/other || touch dep", strings.ReplaceAll(fails, "URL", server.URL), 1))
	r = w.attest(t, dir, "run").want(t, 3)
	path := receipt(t, dir)
	text := read(t, path)
	for _, want := range []string{"GET " + server.URL + "/missing: the server did not have it",
		"http://other.example/x: refused: other.example is not on the step's allow-list"} {
		if !strings.Contains(r.stderr, want) || !strings.Contains(text, want) {
			t.Errorf("missing %q in:\n%s\nor in:\n%s", want, r.stderr, text)
		}
	}
	for _, want := range []string{"fetched before it failed: " + server.URL + "/dep", "allow: [" + buildkitdtest.Address + ", other.example]"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("missing %q in:\n%s", want, r.stderr)
		}
	}
	if !strings.Contains(text, `{url: "`+server.URL+`/dep", sha256:`) {
		t.Errorf("the receipt does not say what was fetched before:\n%s", text)
	}
	if r = w.attest(t, dir, "pipeline", "lock").want(t, 3); receipt(t, dir) == path || !strings.Contains(r.stderr, "attest: receipt: .attest/receipts/") {
		t.Errorf("what ran for a lock that failed has no receipt:\n%s", r.stderr)
	}
}
