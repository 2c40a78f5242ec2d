// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/sockets/socketstest"
)

// TestEscape has a step try what it must not be able to do. Each attempt must be
// refused, and not merely fail: a kernel that looks at its arguments would have
// obeyed better ones.
func TestEscape(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	out, err := solve(t.Context(), c, step(t, "escape"))
	if err != nil {
		t.Fatal(err, out)
	}
	refusals := []string{
		"operation not permitted", "permission denied", "function not implemented", "read-only file system",
		"no such file or directory", "no such device", "there is nothing in it", "is a directory",
	}
	attempts := 0
	for line := range strings.Lines(out) {
		what, ok := strings.CutPrefix(strings.TrimSpace(line), "attempt: ")
		if !ok {
			continue
		}
		attempts++
		refused := false
		for _, r := range refusals {
			refused = refused || strings.HasSuffix(what, r)
		}
		if !refused {
			t.Errorf("not refused: %s", what)
		}
	}
	if attempts < 50 {
		t.Errorf("only %d attempts:\n%s", attempts, out)
	}
}

// TestSocketsOfTheHost: without a network a step reaches neither the services of
// this host, nor its abstract sockets, nor the network around it.
func TestSocketsOfTheHost(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	abstract, err := net.Listen("unix", "@attest-test-"+t.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	service, name := listenLocally(t), "@attest-test-"+t.Name()
	for _, address := range []string{service, name, "169.254.169.254:80"} {
		if out, err := solve(t.Context(), c, step(t, "dial", address)); err == nil {
			t.Errorf("a step without a network reaches %s:\n%s", address, out)
		}
	}
	// With the network of this host it reaches all of them, so that it is the
	// network which keeps it from them.
	for _, address := range []string{service, name} {
		if out, err := solve(t.Context(), c, stepWith(t, []llb.RunOption{llb.Network(llb.NetModeSandbox)}, "/bin/step", "dial", address)); err != nil {
			t.Errorf("a step with an open network does not reach %s: %v\n%s", address, err, out)
		}
	}
}

// TestSocketsBeyond: without a network there are no sockets either that a network
// namespace does not hold, for programs of every architecture. Containers refuse
// io_uring in their own way.
func TestSocketsBeyond(t *testing.T) {
	c := dial(t, buildkitdtest.Start(t))
	for _, p := range socketstest.Programs(t) {
		program, err := os.ReadFile(p.Path)
		if err != nil {
			t.Fatal(err)
		}
		root := llb.Scratch().File(llb.Mkfile("/probe", 0o755, program))
		for _, mode := range []pb.NetMode{llb.NetModeNone, llb.NetModeSandbox} {
			def, err := root.Run(llb.Args([]string{"/probe"}), llb.IgnoreCache, llb.Network(mode)).Root().Marshal(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out, err := solve(t.Context(), c, def)
			if err != nil {
				t.Fatal(err, out)
			}
			open := mode == llb.NetModeSandbox
			if strings.Contains(out, "vsock: "+socketstest.Granted) && !open {
				t.Errorf("%s without a network:\n%s", p.Arch, out)
			}
			// By socketcall no socket can be told from another.
			if is, want := strings.Contains(out, "inet: "+socketstest.Granted), open || p.Arch != "386"; is != want {
				t.Errorf("%s, with an open network %t, has others: %t", p.Arch, open, is)
			}
		}
	}
}
