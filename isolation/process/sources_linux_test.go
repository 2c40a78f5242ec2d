// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// sourceOf is something that a step takes from the world. What it makes of it is
// in the file o.
type sourceOf struct {
	name, script string
	// causes are what the second run finds; empty where the level has it alike in
	// both, so that only another machine or user could tell.
	causes string
	fixed  bool   // by a deterministic run
	needs  string // programs
}

func sourcesOfNondeterminism() []sourceOf {
	return []sourceOf{
		{"date", "date > o", "timestamp", false, ""},
		{"seconds", "date +%s > o", "timestamp", false, ""},
		{"nanoseconds", "date +%N > o", "timestamp", false, ""},
		{"fraction", "date +%s.%N > o", "timestamp", false, ""},
		{"second-of-minute", "date +%S > o", "timestamp", false, ""},
		{"uptime", "cut -d' ' -f1 /proc/uptime > o", "timestamp", false, ""},
		{"monotonic", "python3 -c 'import time; print(time.monotonic_ns())' > o", "timestamp", false, "python3"},
		{"umask", "umask > o", "umask", true, ""},
		{"list", "touch -d @0 n; ls -l n > o", "umask", true, ""},
		{"perl-hash", "perl -e '%h = map { $_ => 1 } qw(a b c d e f g h i j k l); print join(q( ), keys %h)' > o", "order", true, "perl"},
		{"inode", "echo x > n; stat -c %i n > o", "random", false, ""},
		{"python-time", "python3 -c 'import time; print(time.time())' > o", "timestamp", false, "python3"},
		{"cc-date", "echo 'const char *when = __DATE__ __TIME__;' > n.c; cc -c n.c -o o", "timestamp", true, "cc"},
		{"sqlite", "python3 -c 'import sqlite3; c = sqlite3.connect(\"o\"); c.execute(\"create table t as select datetime()\"); c.commit()'", "timestamp", false, "python3"},
		{"zip", "python3 -c 'import zipfile; zipfile.ZipFile(\"o\", \"w\").write(\"d/a\")'", "timestamp", true, "python3"},
		{"uname", "uname -n > o", "hostname", true, ""},
		{"random", "echo $RANDOM$RANDOM > o", "random", false, "bash"},
		{"urandom", "head -c 64 /dev/urandom > o", "random", false, ""},
		{"uuid", "cat /proc/sys/kernel/random/uuid > o", "random", false, ""},
		{"mktemp", "mktemp > o", "random", false, ""},
		{"readdir", "find d -type f > o", "order", true, "find"},
		{"archive-order", "tar --mtime=@0 -cf o d", "order", true, "tar"},
		{"archive-mtime", "echo x > n; chmod 644 n; tar -cf o n", "timestamp", false, "tar"},
		{"archive-input-mtime", "tar -cf o d/a", "timestamp", true, "tar"},
		{"archive-mode", "echo x > n; touch -d @0 n; tar -cf o n", "umask", true, "tar"},
		{"gzip", "cp d/a n; gzip n; mv n.gz o", "timestamp", false, "gzip"},
		{"gzip-input", "gzip -c d/a > o", "timestamp", true, "gzip"},
		{"nproc", "echo jobs: $(nproc) > o", "cpu-count", true, "nproc"},
		{"cpuinfo", "echo jobs: $(grep -c ^processor /proc/cpuinfo) > o", "cpu-count", true, ""},
		{"python-cpus", "python3 -c 'import os; print(\"jobs:\", os.cpu_count())' > o", "cpu-count", true, "python3"},
		{"go-cpus", "(cd g; go run cpus.go > ../o)", "cpu-count", true, "go"},
		{"file-time", "echo x > n; stat -c %Y n > o", "timestamp", false, ""},
		{"input-time", "stat -c %Y d/a > o", "timestamp", true, ""},
		{"build-path", "pwd > o", "path", true, ""},
		{"go-path", "(cd g; go build -buildvcs=false -o ../o main.go)", "path", true, "go"},
		{"go-trimpath", "(cd g; go build -buildvcs=false -trimpath -o ../o main.go)", "", true, "go"},
		{"pyc", "cp d/m.py m.py; python3 -m py_compile m.py; mv __pycache__/*.pyc o", "timestamp", true, "python3"},
		{"hash-order", "python3 -c 'print({\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"})' > o", "order", true, "python3"},
		{"go-order", "(cd g; go run order.go > ../o)", "order", false, "go"},
		{"threads", "python3 -c 'import threading, time, os\nfor i in range(20): threading.Thread(target=lambda i=i: (time.sleep(os.urandom(1)[0] / 5000), print(i))).start()' > o", "order", false, "python3"},
		{"shuf", "seq 20 | shuf > o", "order", false, "shuf"},
		{"address", "python3 -c 'print(id(object()))' > o", "random", false, "python3"},
		{"cc-path", "cc -g -c d/x.c -o o", "path", true, "cc"},
		{"ar", "echo x > n.o; chmod 644 n.o; ar rcU o n.o", "timestamp", false, "ar"},
		{"make-order", "make -s -j8 -f d/mk > o", "order", false, "make"},
		{"uid", "id > o", "", true, ""},
		{"locale", "printf 'a\\nB\\n' | sort > o", "", true, ""},
		{"pid", "echo process $$ > o", "random", true, ""},
	}
}

// TestSourcesOfNondeterminism runs steps that take something from the world
// twice. The second run finds it out, with its cause, or a deterministic run
// fixes it; the rest is the same in both.
func TestSourcesOfNondeterminism(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	needView(t)
	dir := t.TempDir()
	write(t, dir+"/d/m.py", "x = 1\n")
	write(t, dir+"/d/mk", "all: a b c d e f g h\na b c d e f g h:\n\t@sleep 0.0$$(od -An -N1 -tu1 /dev/urandom | tr -d ' '); echo $@\n")
	write(t, dir+"/g/main.go", "package main\n\nfunc main() { panic(1) }\n")
	write(t, dir+"/d/x.c", "int x;\n")
	write(t, dir+"/g/order.go", "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tm := map[int]bool{}\n\tfor i := range 40 {\n\t\tm[i] = true\n\t}\n\tfor i := range m {\n\t\tfmt.Println(i)\n\t}\n}\n")
	write(t, dir+"/g/cpus.go", "package main\n\nimport (\n\t\"fmt\"\n\t\"runtime\"\n)\n\nfunc main() { fmt.Println(\"jobs:\", runtime.NumCPU()) }\n")
	for _, name := range strings.Split("hgfedcbaijklnopq", "") {
		write(t, filepath.Join(dir, "d", name), name)
	}
	var sources []sourceOf
	yaml := "version: \"0.1\"\nname: x\nattestation: {require_reproducible: true}\nsteps:\n"
	for _, s := range sourcesOfNondeterminism() {
		if _, err := exec.LookPath(s.needs); s.needs != "" && err != nil {
			continue
		}
		sources = append(sources, s)
		shell := "/bin/sh"
		if s.needs == "bash" {
			shell = "/usr/bin/env bash"
		}
		script := "#!" + shell + "\nset -e\nmkdir -p out/" + s.name + "; " + s.script + "\nmv o out/" + s.name + "/\n"
		yaml += "  " + s.name + ": {run: " + strconv.Quote(script) + ", inputs: [d/, g/], outputs: [out/" + s.name + "/o]}\n"
	}
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(yaml)})
	if err != nil {
		t.Fatal(err, yaml)
	}
	planned, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	e := process.New(process.Options{Environ: os.Environ()})
	defer e.Close()
	run := func(fixed *executor.Determinism) map[string]receipt.Step {
		rec, err := engine.Run(t.Context(), engine.Options{
			Plan: planned, Root: dir, NoCache: true, KeepGoing: true, Version: "test", Deterministic: fixed, Jobs: 4,
			Executors: map[pipeline.Isolation]executor.Executor{pipeline.Process: e},
		})
		if rec == nil {
			t.Fatal(err)
		}
		steps := map[string]receipt.Step{}
		for _, s := range rec.Receipt.Steps {
			steps[s.Name] = s
		}
		return steps
	}
	usual, fixed := run(nil), run(engine.Deterministic(time.Unix(1e9, 0)))
	for _, s := range sources {
		if got := causes(usual[s.name]); got != s.causes {
			t.Errorf("%s: cause %q, want %q: %s", s.name, got, s.causes, usual[s.name].Error)
		}
		if got := causes(fixed[s.name]); (got == "") != s.fixed {
			t.Errorf("%s: fixed %t in a deterministic run, want %t: %s", s.name, got == "", s.fixed, fixed[s.name].Error)
		}
	}
	// What the receipt names is what the scripts above have shown.
	wantAll(t, fixed["uid"].Controls, executor.FixedCPUs, executor.FixedHostname, executor.FixedInputTimes, executor.FixedOrder,
		executor.FixedPIDs, executor.FixedUmask)
	wantAll(t, usual["uid"].Reproduction.Varied, executor.VariedCPUs, executor.VariedHostname, executor.VariedInputTimes,
		executor.VariedOrder, executor.VariedPath, executor.VariedPIDs, executor.VariedTime, executor.VariedUmask)
}

func wantAll(t *testing.T, got []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%q lacks %q", got, w)
		}
	}
}

// causes are those that a step's second run found; empty where both were alike.
func causes(s receipt.Step) string {
	switch {
	case s.Reproduction == nil:
		return "did not run: " + s.Error
	case s.Reproduction.Verdict == receipt.Identical:
		return ""
	}
	var all []string
	for _, d := range s.Reproduction.Differences {
		all = append(all, d.Cause)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}
