// SPDX-License-Identifier: Apache-2.0

package sockets_test

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/sockets"
	"github.com/attest-pipeline/attest/isolation/sockets/socketstest"
)

// TestConfine: programs that a confined thread starts have other sockets, and those
// that the rest of this program starts have all.
func TestConfine(t *testing.T) {
	for _, p := range socketstest.Programs(t) {
		type result struct {
			out []byte
			err error
		}
		ended := make(chan result)
		go func() {
			runtime.LockOSThread() // the thread ends with this function
			err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			if err == nil {
				err = sockets.Confine()
			}
			var out []byte
			if err == nil {
				out, err = exec.Command(p.Path).CombinedOutput()
			}
			ended <- result{out, err}
		}()
		if got := <-ended; got.err != nil || string(got.out) != p.Confined {
			t.Errorf("%s: %v\n%s", p.Arch, got.err, got.out)
		}
		if out, err := exec.Command(p.Path).CombinedOutput(); err != nil || string(out) == p.Confined {
			t.Errorf("%s, not confined: %v\n%s", p.Arch, err, out)
		}
	}
}
