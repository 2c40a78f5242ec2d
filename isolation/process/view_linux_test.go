// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// needView skips where this machine gives a step no view of its own.
func needView(t *testing.T) {
	t.Helper()
	needNamespaces(t)
	e := process.New(process.Options{})
	defer e.Close()
	_, outcome := printed(t, e, newJob(t, shell("true")))
	if !slices.Contains(outcome.Controls, process.ControlProjectOverlay) {
		if os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" {
			t.Fatalf("no overlay, and ATTEST_REQUIRE_BUILDKIT is set: %q", outcome.Controls)
		}
		t.Skip("no overlay is to be had")
	}
}

// declare makes all files that stand in the project inputs of the job.
func declare(t *testing.T, job *executor.Job, names ...string) {
	t.Helper()
	root, err := os.OpenRoot(job.Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	all, err := tree.Hasher{}.Scan(t.Context(), root, "", func(name string, _ bool) bool { return name == ".attest" })
	if err != nil {
		t.Fatal(err)
	}
	var entries []tree.Entry
	for _, e := range all.Entries() {
		if slices.Contains(names, e.Path) {
			entries = append(entries, e)
		}
	}
	if job.Inputs, err = tree.New(entries); err != nil {
		t.Fatal(err)
	}
}

func TestWritten(t *testing.T) {
	needView(t)
	for _, test := range []struct {
		name, script         string
		outputs              []string
		unexpected, modified []string
	}{
		{name: "nothing", script: "cat in src/a > /dev/null"},
		{name: "an output", script: "echo x > out", outputs: []string{"out"}},
		{name: "a file", script: "echo x > stray", unexpected: []string{"stray"}},
		{name: "a file in a folder", script: "echo x > src/new", unexpected: []string{"src/new"}},
		{name: "a folder", script: "mkdir -p d/e; echo x > d/e/f; echo x > d/g", unexpected: []string{"d"}},
		{name: "an empty folder", script: "mkdir d", unexpected: []string{"d"}},
		{name: "beside an output", script: "mkdir d; echo x > d/out; echo x > d/more", outputs: []string{"d/out"}, unexpected: []string{"d/more"}},
		{name: "left out on purpose", script: "mkdir -p d/tmp; echo x > d/out; echo x > d/tmp/x; echo x > d/a.log", outputs: []string{"d/", "!d/tmp/", "!d/*.log"}},
		{name: "an input", script: "echo x >> in", modified: []string{"in"}},
		{name: "an input's mode", script: "chmod 700 in", modified: []string{"in"}},
		{name: "an input removed", script: "rm in", modified: []string{"in"}},
		{name: "an input replaced by a link", script: "ln -sf other in", modified: []string{"in"}},
		{name: "a folder of inputs removed", script: "rm -r src", modified: []string{"src/a", "src/d/b"}},
		{name: "a folder of inputs replaced", script: "rm -r src; mkdir src; echo a > src/a", modified: []string{"src/d/b"}},
		{name: "a folder renamed", script: "mv src moved", modified: []string{"src/a", "src/d/b"}, unexpected: []string{"moved"}},
		{name: "a file that is no input", script: "echo x >> other", unexpected: []string{"other"}},
		{name: "a file that is no input removed", script: "rm other", unexpected: []string{"other"}},
		{name: "touched", script: "touch in other; chmod 644 in"},
		{name: "written as it was", script: "echo in > in.new; mv in.new in"},
		{name: "tied", script: "ln in tie", unexpected: []string{"tie"}},
		{name: "a FIFO", script: "mkfifo pipe", unexpected: []string{"pipe"}},
		{name: "closed", script: "mkdir d; echo x > d/x; chmod 0 d/x d", unexpected: []string{"d"}},
		{name: "an earlier output removed", script: "mkdir -p gen; echo x > gen/1.c", outputs: []string{"gen/*.c", "old"}},
		{name: "the state of the repository", script: "echo x > .git/index; echo x > .git/more", unexpected: []string{".git/more"}},
		{name: "names", script: "touch -- \"$(printf 'a\\nb')\" \"$(printf '\\377')\" -n", unexpected: []string{"-n", "a\nb", "\xff"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := process.New(process.Options{})
			defer e.Close()
			job := newJob(t, shell(test.script))
			for _, text := range test.outputs {
				text, exclude := strings.CutPrefix(text, "!")
				name, folder := strings.CutSuffix(text, "/")
				job.Outputs = append(job.Outputs, pipeline.Pattern{Text: name, Folder: folder, Exclude: exclude, Glob: strings.Contains(name, "*")})
			}
			for _, name := range []string{"in", "src/a", "src/d/b", "other", "gen/1.c", "gen/2.c", "gen/notes", "old", ".git/index"} {
				write(t, filepath.Join(job.Root, name), filepath.Base(name)+"\n")
			}
			declare(t, &job, "in", "src/a", "src/d/b")
			before := snapshot(t, job.Root)
			_, outcome := printed(t, e, job)
			if outcome.ExitCode != 0 {
				t.Fatalf("exit code %d", outcome.ExitCode)
			}
			if diff := cmp.Diff(test.unexpected, outcome.Unexpected); diff != "" {
				t.Errorf("unexpected (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.modified, outcome.Modified); diff != "" {
				t.Errorf("modified (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, snapshot(t, job.Root)); diff != "" {
				t.Errorf("the project (-before +after):\n%s", diff)
			}
			if _, err := os.Lstat(job.Staging + ".view"); err == nil {
				t.Error("what the overlay needed is still there")
			}
		})
	}
}

// snapshot describes a project, less what attest keeps there.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.Name() == ".attest" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found[name] = fmt.Sprint(info.Mode(), info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Two steps at once see nothing of each other.
func TestStepsApart(t *testing.T) {
	needView(t)
	e := process.New(process.Options{Environ: []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}})
	defer e.Close()
	// Of the machine's, should the steps write to it.
	shared := filepath.Join("/tmp", fmt.Sprintf("attest-half-%d", os.Getpid()))
	t.Cleanup(func() { _ = os.Remove(shared) })
	one := newJob(t, shell(`shared=`+shared+`; echo 1 > half; echo 1 > $shared; echo 1 > "$HOME/half"; sleep 0.5; cat half $shared "$HOME/half"`))
	two := one
	two.Command = shell(`shared=` + shared + `; sleep 0.2; cat half $shared "$HOME/half" 2>/dev/null; echo 2 > half; echo 2 > $shared; echo 2 > "$HOME/half"`)
	two.Staging = one.Staging + "2"
	if err := os.Mkdir(two.Staging, 0o755); err != nil {
		t.Fatal(err)
	}
	printedOne := make(chan string)
	go func() {
		var out strings.Builder
		_, _ = e.Run(t.Context(), one, executor.Streams{Stdout: &out})
		printedOne <- out.String()
	}()
	if out := output(t, e, two); out != "" {
		t.Errorf("the second step saw %q", out)
	}
	if out := <-printedOne; out != "1\n1\n1\n" {
		t.Errorf("the first step saw %q", out)
	}
}

// output is what a job that may fail printed.
func output(t *testing.T, e *process.Executor, job executor.Job) string {
	t.Helper()
	var out strings.Builder
	if _, err := e.Run(t.Context(), job, executor.Streams{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A home is written to without effect, but for the caches in it.
func TestHome(t *testing.T) {
	needView(t)
	home, bin := t.TempDir(), t.TempDir()
	write(t, home+"/.profile", "mine")
	write(t, home+"/.npm/old", "old")
	write(t, bin+"/cargo", "#!/bin/sh\n")
	if err := os.Chmod(bin+"/cargo", 0o755); err != nil {
		t.Fatal(err)
	}
	e := process.New(process.Options{Environ: []string{"HOME=" + home, "PATH=" + bin + ":/usr/bin:/bin"}})
	out, outcome := printed(t, e, newJob(t, shell(`cd; cat .profile .npm/old
echo x >> .profile; echo x > .ssh; rm .npm/old; echo new > .npm/new; echo x > .cache/x; mkdir .cargo/bin; echo x > .cargo/registry/x`)))
	if out != "mineold" || outcome.ExitCode != 0 || !slices.Contains(outcome.Controls, process.ControlHomePrivate) {
		t.Errorf("printed %q, exit code %d, controls %q", out, outcome.ExitCode, outcome.Controls)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	want := []string{".cache/x", ".cargo/registry/x", ".npm/new", ".profile"}
	var got []string
	_ = filepath.WalkDir(home, func(name string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(home, name); err == nil && !d.IsDir() {
			got = append(got, rel)
		}
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("home (-want +got):\n%s", diff)
	}
	if text, _ := os.ReadFile(home + "/.profile"); string(text) != "mine" {
		t.Errorf(".profile holds %q", text)
	}
	if _, err := os.Lstat(home + "/.cargo/git"); err == nil {
		t.Error("a folder that was made for a tool, and not used, is still there")
	}
}

// Outside of project, home and /tmp nothing is open to writing, whoever runs it.
// Where the protection fails, an empty file is made and removed again.
func TestHostIsReadOnly(t *testing.T) {
	needView(t)
	e := process.New(process.Options{Environ: []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}})
	defer e.Close()
	out := output(t, e, newJob(t, shell(`set +e
for d in / /etc /usr /usr/bin /var /var/lib /var/spool/cron /opt /srv /root /home /run /boot /sys /dev /proc/sys /mnt /lib; do
	f=$d/attest-escape-test; ( : > $f ) 2>/dev/null && echo "$d is open" && rm -f $f
done
( : >> /etc/passwd ) 2>/dev/null && echo /etc/passwd is open
mount -o remount,rw / 2>/dev/null && echo / was opened
unshare -Urm sh -c 'mount -o remount,bind,rw / && : > /etc/attest-escape-test' 2>/dev/null && echo / was opened in a namespace && rm -f /etc/attest-escape-test
true`)))
	if out != "" {
		t.Error(out)
	}
}

// What a step may not do to the host, it may do to a folder that it is given.
func TestCaches(t *testing.T) {
	needView(t)
	dir := t.TempDir()
	job := newJob(t, shell("echo x > "+dir+"/kept"))
	job.Caches = []executor.CacheFolder{{Name: "some", Path: dir}}
	printed(t, process.New(process.Options{}), job)
	if text, err := os.ReadFile(dir + "/kept"); string(text) != "x\n" {
		t.Errorf("%q, error %v", text, err)
	}
}

// A project whose path has all that mount options treat specially.
func TestOverlayOfAnyPath(t *testing.T) {
	needView(t)
	job := newJob(t, shell("echo x > stray; echo y > out"), "out")
	dir := filepath.Join(t.TempDir(), "a,b:c\\d \"e\"\n,upperdir=")
	if err := os.Rename(job.Root, dir); err != nil {
		t.Fatal(err)
	}
	job.Staging = filepath.Join(dir, ".attest/tmp/staging")
	job.Root = dir
	_, outcome := printed(t, process.New(process.Options{}), job)
	if !slices.Contains(outcome.Controls, process.ControlProjectOverlay) || !slices.Equal(outcome.Unexpected, []string{"stray"}) {
		t.Errorf("controls %q, unexpected %q", outcome.Controls, outcome.Unexpected)
	}
}

func TestNoNetwork(t *testing.T) {
	needNamespaces(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	script := fmt.Sprintf(`set +e; cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '
bash -c 'echo > /dev/tcp/127.0.0.1/%s' 2>/dev/null && echo the host answers
bash -c 'echo > /dev/tcp/127.0.0.1/9' 2>&1 | grep -q unreachable && echo no loopback
true`, port)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell(script))
	if out := output(t, e, job); !strings.Contains(out, "the host answers") {
		t.Fatalf("with the host's network: %q", out)
	}
	job.Network = pipeline.NetworkNone
	out, outcome := printed(t, e, job)
	if out != "lo\n" || !slices.Contains(outcome.Controls, process.ControlNoNetwork) {
		t.Errorf("printed %q, controls %q", out, outcome.Controls)
	}
}
