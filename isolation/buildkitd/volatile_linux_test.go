// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"
)

// TestVolatile: overlays that can be written to are mounted as volatile, and can be
// mounted again, as when a step ends and another one goes on with the snapshot.
func TestVolatile(t *testing.T) {
	if testing.Short() {
		t.Skip("mounts")
	}
	root := filepath.Join(t.TempDir(), "snapshots")
	inner, err := openOverlay(root)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	if _, ok := inner.(volatile); !ok {
		t.Skip("the kernel mounts no volatile overlays here")
	}
	ctx := t.Context()
	prepare := func(key, parent string) []mount.Mount {
		mounts, err := inner.Prepare(ctx, key, parent)
		if err != nil {
			t.Fatal(err)
		}
		return mounts
	}
	prepare("base", "")
	if err := inner.Commit(ctx, "layer", "base"); err != nil {
		t.Fatal(err)
	}
	mounts := prepare("step", "layer")
	at := t.TempDir()
	for i := range 2 {
		if !slices.Contains(mounts[0].Options, volatileOption) {
			t.Fatalf("mounted as %q", mounts[0].Options)
		}
		if err := mount.All(mounts, at); err != nil {
			if errors.Is(err, unix.EPERM) && os.Getenv("ATTEST_REQUIRE_BUILDKIT") == "" {
				t.Skip(err)
			}
			t.Fatalf("mounted %d times before: %v", i, err)
		}
		name := filepath.Join(at, "kept")
		if got, err := os.ReadFile(name); i > 0 && (err != nil || string(got) != "kept") {
			t.Errorf("the second time it has %q, %v", got, err)
		}
		if err := errors.Join(os.WriteFile(name, []byte("kept"), 0o600), mount.Unmount(at, 0)); err != nil {
			t.Fatal(err)
		}
		if mounts, err = inner.Mounts(ctx, "step"); err != nil {
			t.Fatal(err)
		}
	}
	view, err := inner.View(ctx, "view", "layer")
	if err != nil || slices.Contains(view[0].Options, volatileOption) {
		t.Errorf("a view is mounted as %+v, %v", view, err)
	}
	if _, ok := inner.(snapshots.Cleaner); !ok {
		t.Error("nobody removes folders that are not needed any more")
	}
}
