// SPDX-License-Identifier: Apache-2.0

package gitstate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/gitstate"
)

func TestCommitTime(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	dir := t.TempDir()
	o := gitstate.Options{Dir: filepath.Join(dir, "sub"), Environ: []string{"HOME=" + dir}}
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	want := func(when string, want time.Time) {
		t.Helper()
		if got, err := gitstate.CommitTime(t.Context(), o); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v; want %v", when, got, err, want)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_COMMITTER_DATE=2001-09-09T01:46:40Z", "GIT_AUTHOR_DATE=2011-01-01T00:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	want("no repository", time.Time{})
	git("init", "-q")
	want("no commit", time.Time{})
	git("commit", "-q", "--allow-empty", "-m", "m")
	want("a commit", time.Unix(1e9, 0))
	git("pack-refs", "--all")
	git("checkout", "-q", "--detach")
	want("no branch", time.Unix(1e9, 0))
}
