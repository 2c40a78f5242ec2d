// SPDX-License-Identifier: Apache-2.0

package dump_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/llb/dump"
)

func text(t *testing.T, s llb.State) string {
	t.Helper()
	def, err := s.Marshal(t.Context(), llb.Platform(ocispecs.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := dump.Text(def)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestText(t *testing.T) {
	base := llb.Scratch().
		File(llb.Mkdir("/a", 0o750).Mkfile("/a/b", 0o600, []byte("one\ntwo\x1b")).Symlink("b", "/a/ c").Rm("/a/b"))
	exec := base.Run(llb.Args([]string{"true", ""}), llb.User("nobody"), llb.Dir("/a"),
		llb.AddMount("/cache", llb.Scratch(), llb.AsPersistentCacheDir("id", llb.CacheMountShared)),
		llb.AddMount("/sub", base, llb.SourcePath("/a"), llb.Readonly))
	got := text(t, llb.Merge([]llb.State{base, exec.Root()}))
	want := `#1 file
  action 0  on scratch: make folder /a, mode 0750
  action 1  on action 0: write /a/b, mode 0600
            "one\ntwo\x1b"
  action 2  on action 1: link "/a/ c" to b
  action 3  on action 2: remove /a/b

#2 exec
  platform  linux/arm64/v8
  arg       true
  arg       ""
  cwd       /a
  user      nobody
  network   the engine's default
  security  sandbox
  mount     / from #1 output 0
  mount     /cache from scratch type cache
  mount     /sub from #1:/a read-only

#3 merge
  input     #1
  input     #2

#4 result
  result    #3
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

// TestStable: what the first operation is does not change the text of others.
func TestStable(t *testing.T) {
	build := func(first string) string {
		s := llb.Scratch().File(llb.Mkfile("/first", 0o644, []byte(first)))
		return text(t, s.File(llb.Mkfile("/second", 0o644, nil)).File(llb.Rm("/third")))
	}
	for i := range 20 {
		a, b := build("a"), build(strings.Repeat("b", i+1))
		_, restA, _ := strings.Cut(a, "\n\n")
		_, restB, _ := strings.Cut(b, "\n\n")
		if restA != restB {
			t.Fatalf("the rest differs:\n%s\n%s", restA, restB)
		}
	}
}

func TestNoDefinition(t *testing.T) {
	if _, err := dump.Text(&llb.Definition{Def: [][]byte{{0xff, 0xff}}}); err == nil {
		t.Fatal("bytes that are no operation were dumped")
	}
	if got, err := dump.Text(&llb.Definition{}); got != "" || err != nil {
		t.Fatalf("nothing is %q, %v", got, err)
	}
}
