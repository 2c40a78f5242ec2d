// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/source"
)

func project(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	if file == "" {
		return dir
	}
	if err := os.Mkdir(filepath.Join(dir, ".attest"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, config.File), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func env(vars ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(vars); i += 2 {
			if vars[i] == name {
				return vars[i+1]
			}
		}
		return ""
	}
}

func TestWhatBeatsWhat(t *testing.T) {
	five := "5"
	for _, c := range []struct {
		name, file string
		env        []string
		flag       *string
		want       config.Value
	}{
		{"nothing", "", nil, nil, config.Value{Key: "jobs", Value: "auto", Source: "default"}},
		{"file", "jobs: 3\n", nil, nil, config.Value{Key: "jobs", Value: "3", Source: "file"}},
		{"environment", "jobs: 3\n", []string{"ATTEST_JOBS", "4"}, nil, config.Value{Key: "jobs", Value: "4", Source: "environment"}},
		{"flag", "jobs: 3\n", []string{"ATTEST_JOBS", "4"}, &five, config.Value{Key: "jobs", Value: "5", Source: "flag"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := config.Load(project(t, c.file), env(c.env...))
			if err != nil {
				t.Fatal(err)
			}
			if err := set.Flag(config.Jobs, c.flag); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, set.Get(config.Jobs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInvalidFileNamesEveryPlace(t *testing.T) {
	dir := project(t, "# mine\njobs: many\nprogres: tty\nsign: [1]\nverify: true\nverify: false\n")
	_, err := config.Load(dir, env())
	if !errors.Is(err, config.ErrFile) {
		t.Fatalf("error %v does not match ErrFile", err)
	}
	var got []string
	for _, e := range source.All(err) {
		got = append(got, e.Error())
	}
	want := []string{
		`.attest/config.yaml:2:7: jobs: "many" is neither auto nor a number from 1 to 1024`,
		`.attest/config.yaml:3:1: unknown setting "progres", did you mean "progress"?`,
		`.attest/config.yaml:4:7: sign: not a single value`,
		`.attest/config.yaml:6:1: verify is set twice`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}

func TestFilesThatAreNoSettings(t *testing.T) {
	for name, text := range map[string]string{
		"list": "- a\n", "text": "hello\n", "broken": "a: [\n", "binary": "\x00\x01", "large": strings.Repeat("# x\n", 30_000),
		"alias": "jobs: &a 3\nsign: *a\n",
	} {
		t.Run(name, func(t *testing.T) {
			if set, err := config.Load(project(t, text), env()); err == nil {
				t.Errorf("read as %v", set.All())
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, config.File), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(dir, env()); err == nil {
			t.Error("a folder was read as settings")
		}
	})
}

func TestInvalidEnvironment(t *testing.T) {
	_, err := config.Load(t.TempDir(), env("ATTEST_JOBS", "0", "ATTEST_SIGN", "yes"))
	if !errors.Is(err, config.ErrEnv) || !strings.Contains(err.Error(), "ATTEST_JOBS") || !strings.Contains(err.Error(), "ATTEST_SIGN") {
		t.Errorf("error is %v", err)
	}
}

func TestStoreKeepsWhatElseIsThere(t *testing.T) {
	dir := project(t, "# our settings\njobs: 2 # laptops\nsign: true\n")
	for _, kv := range [][2]string{{"jobs", "8"}, {"progress", "plain"}, {"verify", "true"}} {
		if err := config.Store(dir, kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, config.File))
	if err != nil {
		t.Fatal(err)
	}
	want := "# our settings\njobs: 8 # laptops\nsign: true\nprogress: plain\nverify: true\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file differs (-want +got):\n%s", diff)
	}
	set, err := config.Load(dir, env())
	if err != nil {
		t.Fatal(err)
	}
	if set.Jobs() != 8 || !set.Bool(config.Verify) || !set.Bool(config.Sign) {
		t.Errorf("read back as %v", set.All())
	}
}

func TestStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := config.Store(dir, "keep-going", "true"); !errors.Is(err, config.ErrKey) || !strings.Contains(err.Error(), `did you mean "keep_going"`) {
		t.Errorf("keep-going: %v", err)
	}
	if err := config.Store(dir, "jobs", "-1"); err == nil {
		t.Error("jobs -1 was stored")
	}
	if _, err := os.Stat(filepath.Join(dir, config.File)); err == nil {
		t.Error("a file was made")
	}
}

// TestStoredValuesReadBack stores the awkward spellings of YAML.
func TestStoredValuesReadBack(t *testing.T) {
	dir := t.TempDir()
	for _, address := range []string{"unix:///run/x y.sock", "null", "true", "1e3", "tcp://h:1", "a: b # c", "- x", "\"", "'"} {
		if err := config.Store(dir, config.Engine, address); err != nil {
			t.Fatal(err)
		}
		set, err := config.Load(dir, env())
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Get(config.Engine).Value; got != address {
			t.Errorf("stored %q, read %q", address, got)
		}
	}
}
