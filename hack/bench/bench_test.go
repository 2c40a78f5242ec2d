// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTakeTurns(t *testing.T) {
	var order []string
	thing := func(name string) *series {
		return &series{name: name,
			prepare: func() error { order = append(order, "before "+name); return nil },
			measure: func() (time.Duration, error) { order = append(order, name); return time.Duration(len(order)), nil },
		}
	}
	a, b := thing("a"), thing("b")
	if err := takeTurns(2, a, b); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, ", "), "before a, a, before b, b, before b, b, before a, a"; got != want {
		t.Errorf("got %s", got)
	}
	if !slices.Equal(a.times, []time.Duration{2, 8}) || a.median() != 8 {
		t.Errorf("got %v, median %v", a.times, a.median())
	}
}

func TestGoals(t *testing.T) {
	b := &bench{}
	ours := &series{name: "ours", times: []time.Duration{30, 10, 20}}
	theirs := &series{name: "theirs", times: []time.Duration{40}}
	b.atMost("work", ours, 0.5, theirs)
	b.atMost("work", ours, 0.49, theirs)
	b.atMost("work", ours, 1, &series{name: "absent"})
	b.below("work", 2, 2, "ms")
	b.below("work", 1.99, 2, "ms")
	for i, want := range []string{" met", "not met", "not measured", "not met", " met"} {
		if got := b.goals[i].String(); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPeers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", filepath.Join(dir, "path"))
	for name, content := range map[string]string{
		"path/npm": "#!/bin/sh", "path/turbo": "#!/usr/bin/env node", "path/task": "#!", "peers/bin/task": "\x7fELF",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	found := findPeers(filepath.Join(dir, "peers"))
	if found["task"] != filepath.Join(dir, "peers/bin/task") || found["turbo"] != "" || found["git"] != "" {
		t.Errorf("got %v", found)
	}
	if want := "missing, and not compared with: turbo, make, git, b3sum"; !strings.HasPrefix(found.String(), want) {
		t.Errorf("got %q", found)
	}
}
