// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// script is the step that both sides run: it reads a few files and leaves a few.
const script = "mkdir -p out && for f in in/*; do cat $f $f > out/${f#in/}; done"

// canRunContainers says what is missing, if anything is.
func (b *bench) canRunContainers() bool {
	_, err := exec.LookPath("runc")
	if err == nil {
		_, err = os.Stat(b.image)
	}
	if err != nil {
		fmt.Printf("  container steps: not measured: %v\n", err)
	}
	return err == nil
}

// container compares a whole attest run of one container step with runc
// running the same command on the same files: copied in before, and out after.
func (b *bench) container(ctx context.Context) error {
	if !b.canRunContainers() {
		return nil
	}
	project, done, err := b.folder("container")
	defer done()
	if err != nil {
		return err
	}
	if err := b.writeProject(project); err != nil {
		return err
	}
	bundle, err := b.bundle(ctx)
	if err != nil {
		return err
	}
	b.engine = true
	whole := &series{name: "attest run, from start to receipt"}
	step := &series{name: "its step, from inputs to landed outputs"}
	runc := &series{name: "runc run, files copied in and out"}
	for i := range b.rounds + 1 {
		took, inStep, err := timeRun(b.command(ctx, project, b.attest, "run", "--no-cache", "--progress", "json"))
		if err != nil {
			return err
		}
		bare, err := b.runc(ctx, bundle, project, i)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // starts the engine and unpacks the image
		}
		whole.times = append(whole.times, took)
		step.times = append(step.times, inStep)
		runc.times = append(runc.times, bare)
	}
	table("One container step, 5 files in and 5 out", whole, step, runc)
	b.below("a container step, beyond runc", (whole.median()-runc.median()).Seconds()*1e3, 80, "ms")
	return nil
}

func (b *bench) writeProject(dir string) error {
	files := map[string]string{"attest.yaml": fmt.Sprintf(`version: "0.1"
name: bench
image: oci-layout://%s
steps:
  step: {run: '%s', inputs: [in/], outputs: [out/]}
`, b.image, script)}
	for i := range 5 {
		files[fmt.Sprintf("in/%d.txt", i)] = strings.Repeat(fmt.Sprintf("file %d\n", i), 100)
	}
	return writeTexts(dir, files)
}

// timeRun measures an attest run, and by its events the step in it.
func timeRun(cmd *exec.Cmd) (whole, step time.Duration, err error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	err = cmd.Run()
	whole = time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("%v: %w\n%s", cmd.Args, err, &stderr)
	}
	var from, to time.Time
	for lines := bufio.NewScanner(&stderr); lines.Scan(); {
		var event struct {
			Type string    `json:"type"`
			Time time.Time `json:"time"`
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue // a note for people
		}
		switch event.Type {
		case "step.started":
			from = event.Time
		case "step.finished":
			to = event.Time
		}
	}
	if from.IsZero() || to.IsZero() {
		return 0, 0, fmt.Errorf("no step in the events:\n%s", &stderr)
	}
	return whole, to.Sub(from), nil
}

// bundle unpacks the image for runc, with a configuration like a step's.
func (b *bench) bundle(ctx context.Context) (string, error) {
	dir := filepath.Join(b.dir, "bundle")
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(filepath.Join(rootfs, "workspace"), 0o755); err != nil {
		return "", err
	}
	index, err := layout.ImageIndexFromPath(b.image)
	if err != nil {
		return "", err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return "", err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return "", err
	}
	files := mutate.Extract(image)
	defer files.Close()
	untar := exec.CommandContext(ctx, "tar", "-x", "-C", rootfs)
	untar.Stdin = files
	if out, err := untar.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpacking the image: %w\n%s", err, out)
	}
	spec := exec.CommandContext(ctx, "runc", "spec", "--bundle", dir)
	if out, err := spec.CombinedOutput(); err != nil {
		return "", fmt.Errorf("runc spec: %w\n%s", err, out)
	}
	return dir, editSpec(filepath.Join(dir, "config.json"))
}

// editSpec has runc's own example configuration run the script in /workspace.
func editSpec(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	process, ok1 := spec["process"].(map[string]any)
	root, ok2 := spec["root"].(map[string]any)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: no process or no root", name)
	}
	process["terminal"] = false
	process["args"] = []string{"/bin/sh", "-e", "-c", script}
	process["cwd"] = "/workspace"
	root["readonly"] = false
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// runc measures one run of the script by runc alone.
func (b *bench) runc(ctx context.Context, bundle, project string, round int) (time.Duration, error) {
	workspace := filepath.Join(bundle, "rootfs/workspace")
	if err := errors.Join(os.RemoveAll(workspace), os.Mkdir(workspace, 0o755)); err != nil {
		return 0, err
	}
	out := filepath.Join(b.dir, fmt.Sprintf("runc-out-%d", round))
	began := time.Now()
	if err := os.CopyFS(filepath.Join(workspace, "in"), os.DirFS(filepath.Join(project, "in"))); err != nil {
		return 0, err
	}
	if _, err := timed(b.command(ctx, "", "runc", "run", "--bundle", bundle, fmt.Sprintf("attest-bench-%d-%d", os.Getpid(), round))); err != nil {
		return 0, err
	}
	if err := os.CopyFS(out, os.DirFS(filepath.Join(workspace, "out"))); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}
