// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// ways are attempts to get at the file $KEY, which is .attest/keys/private.key
// of the project, or to leave something beside it. None does harm where it
// gets through: the key is the test's own.
var ways = []struct{ name, script string }{
	{"read", `cat .attest/keys/private.key; cat "$KEY"; cat < "$KEY"`},
	{"list", `ls -R .attest; find "$ROOT/.attest" -type f -exec cat {} +`},
	{"dotted path", `cat "$ROOT/./.attest/../.attest//keys/private.key"`},
	{"link", `ln -s "$KEY" l; cat l; ln -s "$ROOT" up; cat up/.attest/keys/private.key`},
	{"hard link", `ln "$KEY" h; cat h`},
	{"copy", `cp -a .attest copy; cat copy/keys/private.key`},
	{"move", `mv .attest moved; cat moved/keys/private.key`},
	{"move the project", `cd /; mv "$ROOT" "$ROOT.moved" && { cat "$ROOT.moved/.attest/keys/private.key"; mv "$ROOT.moved" "$ROOT"; }`},
	{"remove", `rm -rf .attest`},
	{"plant", `mkdir -p .attest/keys; echo planted > .attest/keys/planted; echo planted > "$KEY"`},
	{"chmod", `chmod -R 777 .attest; echo planted > .attest/planted; cat "$KEY"`},
	{"unmount", `umount .attest; umount -l "$ROOT/.attest"; umount -l "$ROOT"; cat "$KEY"`},
	{"mount elsewhere", `mkdir m; mount -o bind "$ROOT" m; mount --bind "$ROOT" m; cat m/.attest/keys/private.key; umount m`},
	{"other processes", `cat /proc/[0-9]*/root"$KEY"; for p in /proc/[0-9]*; do cat "$p/cwd/.attest/keys/private.key"; done`},
	{"open files", `cat /proc/[0-9]*/fd/*/private.key /proc/[0-9]*/fd/*/keys/private.key`},
	{"another mount namespace", `for p in 1 $PPID; do nsenter -t $p -m cat "$KEY"; done`},
	{"a new namespace", `unshare -m sh -c 'umount -l "$ROOT/.attest"; cat "$KEY"'; unshare -U -r -m sh -c 'umount -l "$ROOT/.attest"; cat "$KEY"'`},
	{"remount", `mount -o remount,rw .attest; mount -o remount,rw "$ROOT/.attest"; echo planted > .attest/planted`},
	{"change root", `chroot /proc/1/root cat "$KEY"; chroot . cat /.attest/keys/private.key`},
}

// testReach has a command try to reach the project's keys.
func (s *suite) testReach(t *testing.T) {
	if s.Exposed {
		t.Skip("this machine lets the level hide nothing")
	}
	for _, way := range ways {
		s.run(t, way.name, func(t *testing.T) {
			p := s.project(t)
			secret := word()
			p.write(".attest/keys/private.key", secret+"\n", 0o600)
			before := describe(t, p.path(".attest/keys"))
			job := p.shell("set +e\n{ " + way.script + "\n} < /dev/null")
			job.Env = []pipeline.Var{{Name: "KEY", Value: p.path(".attest/keys/private.key")}, {Name: "ROOT", Value: p.root}}
			got := p.run(job)
			if got.err != nil {
				t.Fatal(got.err)
			}
			reached := strings.Contains(got.stdout+got.stderr, secret)
			if reached {
				t.Errorf("the command read the private key")
			}
			if diff := cmp.Diff(before, describe(t, p.path(".attest/keys"))); diff != "" {
				t.Errorf(".attest/keys (-before +after):\n%s", diff)
			}
			if _, err := os.Lstat(p.path(".attest/planted")); err == nil {
				t.Errorf("the command left something in .attest")
			}
		})
	}
}
