// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// printedIn is printed, in a home with files, each with the word "token" in it.
func printedIn(t *testing.T, home, script string, change func(*executor.Job)) string {
	t.Helper()
	job := newJob(t, shell(script))
	if change != nil {
		change(&job)
	}
	e := process.New(process.Options{Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}})
	out, _ := printed(t, e, job)
	return out
}

func TestCredentials(t *testing.T) {
	needNamespaces(t)
	home, err := os.MkdirTemp(".", "home-") // not below /tmp, which a step does not see
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(home) })
		home, err = filepath.Abs(home)
	}
	if err != nil {
		t.Fatal(err)
	}
	hidden := []string{".ssh/id_ed25519", ".aws/credentials", ".netrc", ".docker/config.json", ".config/gh/hosts.yml", ".cargo/credentials.toml"}
	shown := []string{".docker/other", ".config/git/config", ".cargo/config.toml"}
	for _, name := range append(hidden, shown...) {
		write(t, filepath.Join(home, name), "token "+name+"\n")
	}
	write(t, home+"/.npmrc", "registry=http://localhost/\n//localhost/:_authToken=token .npmrc\n")
	write(t, home+"/.yarnrc.yml", "nodeLinker: token of none\n")
	write(t, home+"/elsewhere/pypirc", "token .pypirc\n")
	if err := os.Symlink("elsewhere/pypirc", home+"/.pypirc"); err != nil {
		t.Fatal(err)
	}
	out := printedIn(t, home, `cd ~; grep -rh token . 2>/dev/null | sort`, nil)
	want := "nodeLinker: token of none\ntoken .cargo/config.toml\ntoken .config/git/config\ntoken .docker/other\n"
	if out != want {
		t.Errorf("a step found:\n%s\nand not:\n%s", out, want)
	}
	// That a step has another home hides no less.
	out = printedIn(t, home, `HOME=/none; cat `+home+`/.ssh/id_ed25519 `+home+`/.netrc 2>/dev/null; true`,
		func(job *executor.Job) { job.Env = []pipeline.Var{{Name: "HOME", Value: t.TempDir()}} })
	if out != "" {
		t.Errorf("a step with a home of its own found %q", out)
	}
	for _, name := range hidden {
		if data, err := os.ReadFile(filepath.Join(home, name)); err != nil || string(data) != "token "+name+"\n" {
			t.Errorf("%s is %q, %v afterwards", name, data, err)
		}
	}
}

// What a step needs of them it declares.
func TestCredentialsAsSecrets(t *testing.T) {
	needNamespaces(t)
	home := t.TempDir()
	write(t, home+"/.ssh/id_ed25519", "key of all\n")
	write(t, home+"/.netrc", "machine of all\n")
	out := printedIn(t, home, `cat ~/.ssh/id_ed25519 ~/.netrc; ls ~/.ssh`, func(job *executor.Job) {
		job.Secrets = []executor.Secret{
			{Name: "key", Mount: home + "/.ssh/id_ed25519", Value: executor.NewSecretValue([]byte("key of this\n"))},
			{Name: "netrc", Mount: home + "/.netrc", Value: executor.NewSecretValue([]byte("machine of this\n"))},
		}
	})
	if want := "key of this\nmachine of this\nid_ed25519\n"; out != want {
		t.Errorf("the step found %q, not %q", out, want)
	}
}

// A step that fails says which credentials of its user it did not see: not those
// of others, and none where it was given one.
func TestCredentialsConcealed(t *testing.T) {
	needNamespaces(t)
	home, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{home, other} {
		write(t, dir+"/.ssh/id_ed25519", "key\n")
		write(t, dir+"/.netrc", "machine\n")
		write(t, dir+"/.pypirc", "[pypi]\n")
	}
	for _, c := range []struct {
		script string
		env    []pipeline.Var
		want   []string
	}{
		{script: "exit 1", want: []string{home + "/.pypirc"}},
		{script: "exit 1", env: []pipeline.Var{{Name: "HOME", Value: other}},
			want: []string{home + "/.netrc", home + "/.pypirc", other + "/.pypirc", other + "/.ssh"}},
		{script: "exit 0"},
	} {
		job := newJob(t, shell(c.script))
		job.Env = c.env
		job.Secrets = []executor.Secret{
			{Name: "key", Mount: home + "/.ssh/id_ed25519", Value: executor.NewSecretValue([]byte("key of this\n"))},
			{Name: "netrc", Mount: "~/.netrc", Value: executor.NewSecretValue([]byte("machine of this\n"))},
		}
		e := process.New(process.Options{Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}})
		_, outcome := printed(t, e, job)
		if !slices.Equal(slices.Sorted(slices.Values(c.want)), outcome.Concealed) {
			t.Errorf("%s with %v: concealed %q, want %q", c.script, c.env, outcome.Concealed, c.want)
		}
	}
}

// The project may lie where credentials do.
func TestProjectAmongCredentials(t *testing.T) {
	needNamespaces(t)
	home := t.TempDir()
	out := printedIn(t, home, `cat file`, func(job *executor.Job) {
		job.Root = home + "/.aws/project"
		write(t, job.Root+"/file", "input")
	})
	if out != "input" {
		t.Errorf("the step found %q in its project", out)
	}
}

// Root reads everybody's passwords.
func TestCredentialsOfTheMachine(t *testing.T) {
	needNamespaces(t)
	needRoot(t)
	out := printedIn(t, t.TempDir(), `cat /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key 2>/dev/null; true`, nil)
	if strings.TrimSpace(out) != "" {
		t.Errorf("a step of root read %d bytes", len(out))
	}
	if data, err := os.ReadFile("/etc/shadow"); err != nil || len(data) == 0 {
		t.Errorf("there was nothing to read: %v", err)
	}
}
