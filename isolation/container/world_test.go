// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// TestWorlds looks from inside at what surrounds a step: as usual, fixed, and
// varied for a second run. What an outcome names as fixed or varied is.
func TestWorlds(t *testing.T) {
	e := start(t, "")
	img, project := imagetest.Busybox(t), t.TempDir()
	names := strings.Split("hgfedcbaijklmnopq", "")
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(project, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(project, "d", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inputs := scan(t, project)
	see := func(change func(*executor.Job)) (map[string]string, executor.Outcome) {
		j := job(img, project, inputs, `mkdir o; hostname >o/hostname; umask >o/umask; nproc >o/cpus
			find d -type f | sed s,d/,, | tr -d '\n' >o/order; stat -c %Y d/a >o/time; pwd >o/path; rm d/b; find d -type f | sed s,d/,, | tr -d '\n' >o/less; cat d/a`, "o")
		change(&j)
		staging, outcome := run(t, e, j)
		saw := map[string]string{}
		for _, name := range []string{"hostname", "umask", "cpus", "order", "time", "path", "less"} {
			saw[name] = strings.TrimSpace(read(t, filepath.Join(staging, "o", name)))
		}
		return saw, outcome
	}
	usual, plain := see(func(*executor.Job) {})
	fixed, first := see(func(j *executor.Job) { j.Deterministic = &executor.Determinism{Epoch: time.Unix(1e9, 0)} })
	varied, second := see(func(j *executor.Job) {
		j.Variation = &executor.Variation{Hostname: "x", Umask: 1, CPUs: 1, ReverseDirs: true}
	})
	both, third := see(func(j *executor.Job) {
		j.Deterministic, j.Variation = &executor.Determinism{Epoch: time.Unix(1e9, 0)}, &executor.Variation{}
	})

	slices.Sort(names)
	sorted := strings.Join(names, "")
	inForce := map[string]bool{
		launch.FixedHostname:   fixed["hostname"] == "attest",
		launch.FixedUmask:      fixed["umask"] == "0022",
		launch.FixedCPUs:       fixed["cpus"] == "1" && runtime.NumCPU() > 1,
		launch.FixedOrder:      fixed["order"] == sorted && fixed["less"] == strings.Replace(sorted, "b", "", 1),
		launch.FixedPath:       fixed["path"] == "/workspace" && usual["path"] == fixed["path"],
		launch.FixedInputTimes: fixed["time"] == usual["time"] && strings.HasPrefix(fixed["time"], "315"),
	}
	for control, is := range inForce {
		if named := slices.Contains(first.Controls, control); named != is {
			t.Errorf("%s: in force %t, named %t: %v", control, is, named, fixed)
		}
		if slices.Contains(plain.Controls, control) || slices.Contains(second.Controls, control) {
			t.Errorf("%s is named for a step that is not deterministic", control)
		}
	}
	differs := map[string]bool{
		launch.VariesHostname: varied["hostname"] != usual["hostname"],
		launch.VariesUmask:    varied["umask"] == "0027",
		launch.VariesCPUs:     varied["cpus"] != usual["cpus"],
		launch.VariesOrder:    varied["order"] == reversed(usual["order"]),
	}
	for what, is := range differs {
		if named := slices.Contains(second.Varied, what); named != is {
			t.Errorf("%s: differs %t, named %t: %v, usually %v", what, is, named, varied, usual)
		}
	}
	if len(first.Varied)+len(third.Varied)+len(plain.Varied) > 0 {
		t.Errorf("what did not vary is named: %q %q %q", plain.Varied, first.Varied, third.Varied)
	}
	for name, value := range fixed {
		if both[name] != value {
			t.Errorf("%s is %q in the first run of a deterministic step, %q in the second", name, value, both[name])
		}
	}
	status, err := buildkitdtest.Shared(t).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Snapshotter == "overlayfs" && (!inForce[launch.FixedOrder] || !differs[launch.VariesOrder]) {
		t.Error("file systems are stacked, and folders list their files in no chosen order")
	}
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}
