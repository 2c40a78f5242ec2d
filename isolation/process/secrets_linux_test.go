// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

func secretAt(path string) []executor.Secret {
	return []executor.Secret{{Name: "KEY", Mount: path, Value: executor.NewSecretValue([]byte("hunter2"))}}
}

// TestSecretPlaces mounts a secret where something stands, where nothing does,
// and behind a link. The machine stays as it was, and what stands beside the
// secret works.
func TestSecretPlaces(t *testing.T) {
	needView(t)
	needRoot(t)
	// In /tmp all is the step's own.
	dir, err := os.MkdirTemp("/run", "attest-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	home, away := dir+"/home", dir+"/away"
	write(t, home+"/.npmrc", "mine\n")
	write(t, away+"/beside/file", "beside\n")
	write(t, away+"/file", "file\n")
	listener, err := net.Listen("unix", away+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("answered"))
			_ = conn.Close()
		}
	}()
	for link, target := range map[string]string{away + "/link": "file", home + "/out": away} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, mount, script, want string }{
		{"over a file of the home", home + "/.npmrc", "cat ~/.npmrc", "hunter2"},
		{"in the home", home + "/.config/deep/token", "cat ~/.config/deep/token; echo x > ~/new; cat ~/new", "hunter2x\n"},
		{"in a folder of the machine", away + "/new/deep/key", "cd " + away + "; cat new/deep/key file link beside/file; ls; ! touch x 2>/dev/null", "hunter2file\nfile\nbeside\nbeside\nfile\nlink\nnew\nsocket\n"},
		{"over a file of the machine", away + "/file", "cat " + away + "/file", "hunter2"},
		{"behind a link", home + "/out/key", "cat " + away + "/key", "hunter2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := snapshot(t, dir)
			// Without tools in its PATH, no caches are made in the home.
			e := process.New(process.Options{Environ: []string{"HOME=" + home, "PATH=/bin"}})
			job := newJob(t, shell(test.script))
			job.Secrets = secretAt(test.mount)
			got, outcome := printed(t, e, job)
			if got != test.want || outcome.ExitCode != 0 {
				t.Errorf("printed %q, want %q; exit code %d", got, test.want, outcome.ExitCode)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			after := snapshot(t, dir)
			for name, what := range after {
				if before[name] != what && name != home { // where folders of caches come and go
					t.Errorf("%s was %q and is %q", name, before[name], what)
				}
			}
		})
	}
}

func TestSecretPlacesRefused(t *testing.T) {
	needView(t)
	home := t.TempDir()
	cache := home + "/.cache"
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	job := newJob(t, shell("touch "+home+"/ran"))
	job.Caches = []executor.CacheFolder{{Name: "c", Path: home}}
	e := process.New(process.Options{Environ: []string{"HOME=" + home}})
	defer e.Close()
	for mount, says := range map[string]string{
		job.Root + "/key":      "taken for an output",
		cache + "/key":         "is there for later steps",
		"/attest-no-such/key":  "into /",
		"/usr":                 "is a folder",
		"/tmp":                 "is a folder",
		"/etc/hostname/no/key": "not a directory",
	} {
		job.Secrets = secretAt(mount)
		_, err := e.Run(t.Context(), job, executor.Streams{})
		var hinted *executor.HintedError
		if !errors.As(err, &hinted) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, which does not say %q", mount, err, says)
		}
	}
	if _, err := os.Stat(home + "/ran"); err == nil {
		t.Error("a step whose secret could not be mounted ran")
	}
}
