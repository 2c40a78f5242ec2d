// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// anotherBuild is the name under which this program is one that does not know
// how to talk to this one.
const anotherBuild = "another-build"

func TestMain(m *testing.M) {
	if process.IsInit(os.Args) {
		if self, err := os.Executable(); err == nil && filepath.Base(self) == anotherBuild {
			_, _ = os.NewFile(3, "connection").WriteString("hello from earlier")
			os.Exit(0)
		}
		os.Exit(process.Main())
	}
	if len(os.Args) > 1 && os.Args[1] == lookCommand {
		os.Exit(look(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// newJob makes a job in a project with nothing in it.
func newJob(t testing.TB, c pipeline.Command, outputs ...string) executor.Job {
	t.Helper()
	root := t.TempDir()
	staging := filepath.Join(root, ".attest", "tmp", "staging")
	if err := os.MkdirAll(staging, 0o755); err != nil {
		t.Fatal(err)
	}
	job := executor.Job{Step: "step", Command: c, WorkingDir: ".", Network: pipeline.NetworkHost, Root: root, Staging: staging}
	for _, text := range outputs {
		name, folder := strings.CutSuffix(text, "/")
		job.Outputs = append(job.Outputs, pipeline.Pattern{Text: name, Folder: folder})
	}
	return job
}

func shell(script string) pipeline.Command { return pipeline.Command{Shell: script} }

// printed runs the job and returns what it wrote to stdout.
func printed(t *testing.T, e *process.Executor, job executor.Job) (string, executor.Outcome) {
	t.Helper()
	var out strings.Builder
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), outcome
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentOfNobody(t *testing.T) {
	out, _ := printed(t, process.New(process.Options{}), newJob(t, pipeline.Command{Argv: []string{"env"}}))
	for _, name := range []string{"HOME", "PATH", "USER"} {
		if _, after, ok := strings.Cut("\n"+out, "\n"+name+"="); !ok || after == "" || after[0] == '\n' {
			t.Errorf("a caller without environment gives no %s: %q", name, out)
		}
	}
}

func TestErrorsNameWhatIsMissing(t *testing.T) {
	for want, c := range map[string]pipeline.Command{
		"no-such-command": {Argv: []string{"no-such-command"}},
		"#!/no/such/sh":   {Script: "#!/no/such/sh\n"},
	} {
		_, err := process.New(process.Options{}).Run(t.Context(), newJob(t, c), executor.Streams{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestWorkingDirStaysInside(t *testing.T) {
	job := newJob(t, shell("pwd"))
	if err := os.Symlink("/", filepath.Join(job.Root, "out")); err != nil {
		t.Fatal(err)
	}
	job.WorkingDir = "out/tmp"
	if _, err := process.New(process.Options{}).Run(t.Context(), job, executor.Streams{}); err == nil {
		t.Error("the command ran outside of the project")
	}
}

func TestPutBack(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	aside := filepath.Join(root, "aside")
	write(t, filepath.Join(aside, "file"), "old")
	write(t, filepath.Join(aside, "dir", "file"), "old")
	write(t, filepath.Join(aside, "link", "file"), "old")
	write(t, filepath.Join(root, "file", "is now a folder"), "new")
	write(t, filepath.Join(root, "dir"), "new, and no folder")
	if err := os.Symlink(elsewhere, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := process.PutBack(root, aside); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "dir/file", "link/file"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); string(got) != "old" {
			t.Errorf("%s holds %q, error %v", name, got, err)
		}
	}
	if items, err := os.ReadDir(elsewhere); len(items) != 0 || err != nil {
		t.Errorf("a link led out of the project: %v, %v", items, err)
	}
	if _, err := os.Lstat(aside); err == nil {
		t.Error("the folder aside is still there")
	}
	if err := process.PutBack(root, aside); err != nil {
		t.Errorf("nothing to put back: %v", err)
	}
}

// A step that fails leaves no outputs, not even new ones.
func TestFailureLeavesNothing(t *testing.T) {
	job := newJob(t, shell("mkdir out; echo x > out/file; exit 1"), "out/")
	if _, outcome := printed(t, process.New(process.Options{}), job); outcome.ExitCode != 1 {
		t.Fatalf("exit code %d", outcome.ExitCode)
	}
	if _, err := os.Lstat(filepath.Join(job.Root, "out")); err == nil {
		t.Error("out/ is still there")
	}
}

// A command that is stopped may tidy up, shortly.
func TestTidiesUp(t *testing.T) {
	job := newJob(t, shell("trap 'echo tidied; exit 0' TERM; sleep 100 & wait"))
	job.Timeout = 500 * time.Millisecond
	out, outcome := printed(t, process.New(process.Options{}), job)
	if out != "tidied\n" || !outcome.TimedOut || outcome.ExitCode != executor.ExitTimeout {
		t.Errorf("printed %q, exit code %d, TimedOut %t", out, outcome.ExitCode, outcome.TimedOut)
	}
}

// Folders of the project that other steps may use stay; the step's own go.
func TestEmptiedFolders(t *testing.T) {
	job := newJob(t, shell("mkdir -p own/deep; echo x > own/deep/file; echo x > shared/file"), "own/", "shared/file")
	if err := os.Mkdir(filepath.Join(job.Root, "shared"), 0o755); err != nil {
		t.Fatal(err)
	}
	printed(t, process.New(process.Options{}), job)
	if _, err := os.Lstat(filepath.Join(job.Root, "own")); err == nil {
		t.Error("own/ is still there")
	}
	if _, err := os.Lstat(filepath.Join(job.Root, "shared")); err != nil {
		t.Errorf("shared is gone: %v", err)
	}
}

func TestNotCalledMain(t *testing.T) {
	name := os.Args[0]
	os.Args[0] = "attest-step-init"
	defer func() { os.Args[0] = name }()
	if _, err := process.New(process.Options{}).Run(t.Context(), newJob(t, shell("true")), executor.Streams{}); err == nil {
		t.Error("a step ran in what should be the init of another")
	}
}

// A step has a /dev of its own, in which its project would not be.
func TestProjectInDev(t *testing.T) {
	job := newJob(t, shell("true"))
	dir, err := os.MkdirTemp("/dev/shm", "project-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	job.Root = dir
	_, err = process.New(process.Options{}).Run(t.Context(), job, executor.Streams{})
	var hinted *executor.HintedError
	if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) {
		t.Errorf("error %v", err)
	}
}
