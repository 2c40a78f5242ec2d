// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// childEnv holds the folder of a project that this test binary is to run.
const childEnv = "ATTEST_ENGINE_CHILD"

// withProcesses makes a project whose steps are processes of this host.
func withProcesses(t *testing.T, yaml string, files map[string]string) *project {
	p := newProject(t, yaml, files, nil)
	p.options.Executors[pipeline.Process] = process.New(process.Options{Environ: os.Environ()})
	return p
}

func TestProcessesFromEndToEnd(t *testing.T) {
	p := withProcesses(t, `steps:
  build:
    run: |
      mkdir -p out
      tr a-z A-Z <in >out/upper
      ln -s upper out/link
      chmod 750 out/upper
      echo on stdout; echo on stderr >&2
    inputs: [in]
    outputs: [out/]
  use: {run: [cp, out/link, copy], inputs: [], needs: [build], outputs: [copy]}
`, map[string]string{"in": "hello\n", "out/stale": ""})
	rec := p.run()
	if got := p.read("copy"); got != "HELLO\n" {
		t.Errorf("copy holds %q", got)
	}
	if p.exists("out/stale") {
		t.Error("a stale file stays in an output folder")
	}
	if info, err := os.Stat(p.path("out/upper")); err != nil || info.Mode() != 0o750 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if log, err := os.ReadFile(rec.Results[0].Log); err != nil || !strings.Contains(string(log), "on stdout\n") || !strings.Contains(string(log), "on stderr\n") {
		t.Errorf("log is %q, %v", log, err)
	}
	first := rec.Receipt.Steps[0].Key
	if again := p.run().Receipt.Steps[0].Key; again != first {
		t.Error("the key changed while nothing else did")
	}
}

func TestFailedProcessLeavesWhatWasThere(t *testing.T) {
	p := withProcesses(t, "steps: {s: {run: \"echo half >out; exit 4\", inputs: [], outputs: [out]}}\n", map[string]string{"out": "earlier"})
	rec, _ := p.fail()
	if got := p.read("out"); got != "earlier" || rec.Receipt.Steps[0].ExitCode != 4 {
		t.Errorf("out holds %q; step %+v", got, rec.Receipt.Steps[0])
	}
}

// TestProcessThatComesToNothing: exit code 0 is not success yet.
func TestProcessThatComesToNothing(t *testing.T) {
	p := withProcesses(t, "steps: {s: {run: \"echo new >out\", inputs: [], outputs: [out, missing, d/]}}\n",
		map[string]string{"out": "earlier", "d/x": "earlier"})
	p.fail()
	if p.read("out") != "earlier" || p.read("d/x") != "earlier" {
		t.Errorf("out holds %q, d/x %q", p.read("out"), p.read("d/x"))
	}
}

// TestProcessKeepsWhatIsNotItsOwn: files that a glob matches, and that no run
// left, are moved aside for the command only.
func TestProcessKeepsWhatIsNotItsOwn(t *testing.T) {
	p := withProcesses(t, "steps: {s: {run: \"ls gen >seen; mkdir -p gen/d; echo 1 >gen/one.c; test -e gen/d/more.c || test -e again || echo 2 >gen/d/more.c\", inputs: [], outputs: [\"gen/**/*.c\", seen]}}\n",
		map[string]string{"gen/mine.c": "mine", "gen/one.c": "old", "gen/notes": "mine"})
	p.run()
	if p.read("gen/mine.c") != "mine" || p.read("gen/one.c") != "1\n" || !p.exists("gen/d/more.c") {
		t.Errorf("gen/mine.c holds %q, gen/one.c %q", p.read("gen/mine.c"), p.read("gen/one.c"))
	}
	if got := p.read("seen"); got != "notes\n" {
		t.Errorf("the command saw %q", got)
	}
	p.write("again", "")
	p.run()
	if p.exists("gen/d/more.c") {
		t.Error("a stale match of an earlier run stays")
	}
	if p.read("gen/mine.c") != "mine" {
		t.Errorf("gen/mine.c holds %q", p.read("gen/mine.c"))
	}
}

// TestInterruptedProcess wants the whole process tree gone within two seconds.
func TestInterruptedProcess(t *testing.T) {
	p := withProcesses(t, "steps: {s: {run: \"sleep 1000 & trap '' TERM INT; echo ready; sleep 1000\", inputs: [], outputs: [out]}}\n",
		map[string]string{"out": "earlier"})
	ctx, stop := context.WithCancelCause(context.Background())
	var began time.Time
	p.options.Sink = onLog(p.events, func() { began = time.Now(); stop(errStop) })
	rec, err := engine.Run(ctx, p.options)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, errStop) || rec.Receipt.Status != receipt.Interrupted || rec.Receipt.Steps[0].Status != receipt.Interrupted {
		t.Errorf("error %v, receipt %s", err, statuses(rec))
	}
	if got := p.read("out"); got != "earlier" {
		t.Errorf("out holds %q", got)
	}
	p.check(rec)
}

// written returns what a step that runs has written to the project's file so
// far, wherever the level keeps that until the step has ended.
func written(p *project, file string) string {
	found, _ := filepath.Glob(p.path(".attest/tmp/*/*/*/upper/" + file))
	for _, name := range append(found, p.path(file)) {
		if text, err := os.ReadFile(name); err == nil {
			return string(text)
		}
	}
	return ""
}

// TestKilledProcess kills a whole run with SIGKILL in the middle of a step, and
// runs again.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		runAsChild(t, dir)
		return
	}
	p := withProcesses(t, "steps: {s: {run: \"echo half >out; echo $$ >pid; sleep 1000\", inputs: [], outputs: [out]}}\n",
		map[string]string{"out": "earlier"})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledProcess$")
	cmd.Env = append(os.Environ(), childEnv+"="+p.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); written(p, "pid") == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			t.Fatal("the step did not begin")
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if p.exists(".attest/receipts") {
		t.Error("a killed run left a receipt")
	}

	// The next run fails, so that what it puts back stays.
	p.write("attest.yaml", head+"steps: {s: {run: \"cat out; exit 1\", inputs: [], outputs: [other]}}\n")
	p.replan()
	began := time.Now()
	rec, _ := p.fail()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the next run took %v: did it wait for a dead one?", took)
	}
	if log, err := os.ReadFile(rec.Results[0].Log); err != nil || string(log) != "earlier" {
		t.Errorf("the output of before the kill is %q, %v", log, err)
	}
}

func runAsChild(t *testing.T, dir string) {
	p := &project{t: t, dir: dir, events: &recorder{}}
	p.options = engine.Options{
		Root:      dir,
		Executors: map[pipeline.Isolation]executor.Executor{pipeline.Process: process.New(process.Options{Environ: os.Environ()})},
	}
	p.replan()
	_, err := engine.Run(context.Background(), p.options)
	t.Fatal("the run ended by itself:", err)
}

// TestKilledRunsProcessesEnd: nothing of a killed run goes on.
func TestKilledRunsProcessesEnd(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		runAsChild(t, dir)
		return
	}
	p := withProcesses(t, "steps: {s: {run: \"while true; do echo x >>alive; sleep 0.05; done\", inputs: []}}\n", nil)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledRunsProcessesEnd$")
	cmd.Env = append(os.Environ(), childEnv+"="+p.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); written(p, "alive") == "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	time.Sleep(time.Second)
	before := len(written(p, "alive"))
	time.Sleep(500 * time.Millisecond)
	if after := len(written(p, "alive")); after != before || before == 0 {
		t.Errorf("the step goes on: %s and then %s bytes", strconv.Itoa(before), strconv.Itoa(after))
	}
}
