// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func TestAddress(t *testing.T) {
	both := []string{"BUILDKIT_HOST=unix:///b", "ATTEST_ENGINE=unix:///a"}
	for _, test := range []struct {
		flag    string
		environ []string
		want    string
	}{
		{"unix:///f", both, "unix:///f"},
		{"", both, "unix:///a"},
		{"", both[:1], "unix:///b"},
		{"", nil, ""},
		{"", []string{"ATTEST_ENGINE=", "BUILDKIT_HOST=unix:///b"}, "unix:///b"},
	} {
		if got := connect.Address(test.flag, test.environ); got != test.want {
			t.Errorf("Address(%q, %q) = %q, want %q", test.flag, test.environ, got, test.want)
		}
	}
}

// open connects and puts a question to the engine, which must be BuildKit.
func open(t *testing.T, o connect.Options) *connect.Conn {
	t.Helper()
	c, err := connect.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("connecting to %q: %v", o.Address, err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Client.ListWorkers(t.Context()); err != nil {
		t.Fatalf("asking %s: %v", c.Name, err)
	}
	return c
}

func TestEmbedded(t *testing.T) {
	d := buildkitdtest.New(t)
	var said []string
	c := open(t, connect.Options{Daemon: d, Progress: func(p executor.Progress) { said = append(said, p.Doing) }})
	if !strings.HasPrefix(c.Name, "embedded buildkit v0.") || c.Embedded == nil || c.Embedded.StateDir != d.StateDir {
		t.Errorf("got %q, %+v", c.Name, c.Embedded)
	}
	if len(said) != 1 {
		t.Errorf("progress: %q", said)
	}
	start := time.Now()
	open(t, connect.Options{Daemon: d, Progress: func(p executor.Progress) { t.Errorf("a second start: %v", p) }})
	t.Logf("connected to a running engine, and asked, in %s", time.Since(start))
}

func TestUnix(t *testing.T) {
	address := buildkitdtest.Start(t)
	c := open(t, connect.Options{Address: address})
	if !strings.HasPrefix(c.Name, "buildkit v0.") || !strings.HasSuffix(c.Name, " at "+address) || c.Embedded != nil {
		t.Errorf("got %q, %+v", c.Name, c.Embedded)
	}
}

// Whatever cannot be used is one kind of error, soon, with a way out.
func TestUnusable(t *testing.T) {
	config := t.TempDir()
	writeBuilder(t, config, "moby", `{"Name":"moby","Driver":"docker","Nodes":[{"Name":"moby","Endpoint":"default"}]}`)
	writeBuilder(t, config, "kube", `{"Name":"kube","Driver":"kubernetes","Nodes":[{"Name":"kube0","Endpoint":"kubernetes:///kube"}]}`)
	writeBuilder(t, config, "empty", `{"Name":"empty","Driver":"remote","Nodes":null}`)
	writeBuilder(t, config, "plain", `{"Name":"plain","Driver":"remote","Nodes":[{"Name":"plain0","Endpoint":"tcp://127.0.0.1:1"}]}`)
	writeBuilder(t, config, "torn", `{"Name":`)
	environ := []string{"BUILDX_CONFIG=" + config, "PATH=" + t.TempDir(), "HOME=" + t.TempDir()}
	for address, want := range map[string]string{
		"unix:///nonexistent/socket": "no such file",
		"unix://relative":            "not an address",
		"tcp://127.0.0.1:1":          "needs mutual TLS",
		"tcp://127.0.0.1":            "not an address",
		"http://127.0.0.1:1":         "not an address",
		"docker-container://":        "not an address",
		"docker-container://nowhere": "docker",
		"nobody":                     "no such builder",
		"buildx://nobody":            "no such builder",
		"buildx://../../etc/passwd":  "not an address",
		"buildx://moby":              `driver "docker"`,
		"kube":                       "driver kubernetes",
		"empty":                      "no node",
		"plain":                      "needs mutual TLS",
		"torn":                       "reading",
	} {
		t.Run(strings.ReplaceAll(address, "/", "_"), func(t *testing.T) {
			start := time.Now()
			c, err := connect.Open(t.Context(), connect.Options{Address: address, Environ: environ})
			if err == nil {
				c.Close()
				t.Fatal("connected")
			}
			var hinted *executor.HintedError
			if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) || len(hinted.Hints) == 0 {
				t.Errorf("got %v, want an error that matches ErrUnavailable, with hints", err)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want something about %q", err, want)
			}
			if passed := time.Since(start); passed > 5*time.Second {
				t.Errorf("it took %s", passed)
			}
		})
	}
}

func writeBuilder(t *testing.T, config, name, text string) {
	t.Helper()
	path := filepath.Join(config, "instances", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A docker that knows one container, which is a running engine.
func dockerShim(t *testing.T, container, address string) (path string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
[ "$*" = "exec -i %s buildctl dial-stdio" ] || { echo "Error: No such container" >&2; exit 1; }
ATTEST_TEST_DIAL=%q exec %q -test.run='^TestDialStdio$'
`, container, strings.TrimPrefix(address, "unix://"), os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDockerContainer(t *testing.T) {
	address := buildkitdtest.Start(t)
	t.Setenv("PATH", dockerShim(t, "engine", address)+":"+os.Getenv("PATH"))
	c := open(t, connect.Options{Address: "docker-container://engine"})
	if !strings.HasSuffix(c.Name, " at docker-container://engine") {
		t.Errorf("got %q", c.Name)
	}
}

func TestBuildxBuilder(t *testing.T) {
	address := buildkitdtest.Start(t)
	t.Setenv("PATH", dockerShim(t, "buildx_buildkit_mybuilder0", address)+":"+os.Getenv("PATH"))
	config := t.TempDir()
	// As docker buildx 0.38 writes them.
	writeBuilder(t, filepath.Join(config, "buildx"), "mybuilder",
		`{"Name":"mybuilder","Driver":"docker-container","Nodes":[{"Name":"mybuilder0","Endpoint":"unix:///var/run/docker.sock","Platforms":null,"DriverOpts":null,"Flags":["--allow-insecure-entitlement=network.host"],"Files":null}],"Dynamic":false}`)
	writeBuilder(t, filepath.Join(config, "buildx"), "far",
		`{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"`+address+`","Platforms":null,"DriverOpts":null,"Flags":null,"Files":null}],"Dynamic":false}`)
	environ := append(os.Environ(), "DOCKER_CONFIG="+config, "BUILDX_CONFIG=")
	for _, name := range []string{"mybuilder", "buildx://mybuilder", "MyBuilder", "far"} {
		c := open(t, connect.Options{Address: name, Environ: environ})
		if !strings.HasSuffix(c.Name, " at "+name) {
			t.Errorf("got %q", c.Name)
		}
	}
}
