// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// world is what all tests of this package share: the programs, one engine, the
// images, and two servers on loopback.
type world struct {
	repo     string // the project's own folder
	dir      string // removed at the end
	bin      string // the programs
	registry string // host:port; holds library/busybox:1 (and by digest)
	digest   v1.Hash
	server   string // URL of a server that answers every request with "reached"
}

// theWorld is made by TestMain; nil where the tests are to be skipped.
var theWorld *world

func TestMain(m *testing.M) {
	code, err := inWorld(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func inWorld(m *testing.M) (code int, err error) {
	// Everything is made before the first test asks: a skipped test pays for
	// nothing, because the programs are built on demand by need.
	dir, err := os.MkdirTemp("", "attest-e2e-")
	if err != nil {
		return 1, err
	}
	theWorld = &world{dir: dir, bin: filepath.Join(dir, "bin")}
	defer func() { err = errors.Join(err, theWorld.end()) }()
	return m.Run(), nil
}

// need returns the world, complete. It skips the test where no engine can run,
// unless ATTEST_REQUIRE_BUILDKIT is set.
func need(t *testing.T) *world {
	t.Helper()
	buildkitdtest.Require(t)
	if err := theWorld.make(); err != nil {
		t.Fatal(err)
	}
	return theWorld
}

// make builds the programs from this tree, makes the images, and starts the
// servers, once.
func (w *world) make() error {
	if w.repo != "" {
		return nil
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("finding the project: %w", err)
	}
	repo := strings.TrimSpace(string(out))
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", w.bin+"/", "./cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	images := exec.Command("go", "run", "./hack/mkimage", "-o", "build/images", "busybox", "go", "debian")
	for _, cmd := range []*exec.Cmd{build, images} {
		cmd.Dir = repo
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	if err := w.serve(filepath.Join(repo, "build/images/busybox")); err != nil {
		return err
	}
	w.repo = repo
	return nil
}

// serve starts the registry, with one image in it, and the server. Both end
// with the process.
func (w *world) serve(images string) error {
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	w.registry = strings.TrimPrefix(reg.URL, "http://")
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "reached\n")
	})).URL
	index, err := layout.ImageIndexFromPath(images)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	w.digest = manifest.Manifests[0].Digest
	image, err := index.Image(w.digest)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(w.registry+"/library/busybox:1", name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(tag, image)
}

// end stops the engine and removes everything.
func (w *world) end() error {
	var stop error
	if w.repo != "" {
		if out, err := w.command(context.Background(), w.dir, "engine", "stop").CombinedOutput(); err != nil {
			stop = fmt.Errorf("stopping the engine: %w\n%s", err, out)
		}
	}
	return errors.Join(stop, os.RemoveAll(w.dir))
}

// environ is what the programs get: this machine's PATH, with the programs
// first, and an engine apart from the user's own.
func (w *world) environ() []string {
	return []string{
		"PATH=" + w.bin + ":" + os.Getenv("PATH"),
		"HOME=" + filepath.Join(w.dir, "home"),
		"USER=tester",
		"ATTEST_STATE_DIR=" + filepath.Join(w.dir, "state"),
		"REGISTRY=" + w.registry,
		"DIGEST=" + w.digest.String(),
		"SERVER=" + w.server,
		"REPO=" + w.repo,
	}
}

// command is attest in a folder, not yet started.
func (w *world) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "attest"), args...)
	cmd.Dir = dir
	cmd.Env = w.environ()
	return cmd
}

// project makes a folder with an attest.yaml; $IMAGE in it becomes the small
// image's reference.
func (w *world) project(t *testing.T, pipeline string) string {
	t.Helper()
	dir := t.TempDir()
	pipeline = strings.ReplaceAll(pipeline, "$IMAGE", w.image())
	write(t, filepath.Join(dir, "attest.yaml"), pipeline)
	return dir
}

func (w *world) image() string { return w.registry + "/library/busybox:1" }

// attest runs attest in a folder and returns how it ended.
func (w *world) attest(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return finish(t, w.command(t.Context(), dir, args...))
}

// result is how one command ended.
type result struct {
	code           int
	stdout, stderr string
	cmd            *exec.Cmd
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), cmd}
}

// want ends the test unless the command ended with the code.
func (r result) want(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(r.cmd.Args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// receipt returns the path of the newest receipt of a project.
func receipt(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".attest/receipts/receipt_*.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no receipt in %s (%v)", dir, err)
	}
	return slices.MaxFunc(found, byAge)
}

// byAge compares the paths of two receipts: by their second, then by the number
// within it, which may have two digits.
func byAge(a, b string) int {
	second := func(path string) string { return filepath.Base(path)[:len("receipt_20060102_150405")] }
	return cmp.Or(strings.Compare(second(a), second(b)), len(a)-len(b), strings.Compare(a, b))
}
