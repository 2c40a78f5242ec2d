// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestFolders: nobody is in a folder that another may write to, by whatever path
// and in whatever order they ask for several; who only reads does not wait.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	mounts := func(option string, names ...string) (list []specs.Mount) {
		for _, name := range names {
			list = append(list, specs.Mount{Type: "bind", Source: filepath.Join(dir, name), Options: []string{"rbind", option}})
		}
		return list
	}
	var f folders
	leave, err := f.enter(t.Context(), mounts("rw", "a"))
	if err != nil {
		t.Fatal(err)
	}
	tired := errors.New("tired")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, tired)
	defer cancel()
	if _, err := f.enter(ctx, mounts("rw", "b", "link")); !errors.Is(err, tired) {
		t.Errorf("a folder was entered that somebody is in: %v", err)
	}
	for _, free := range [][]specs.Mount{mounts("rw", "b"), mounts("ro", "a")} {
		other, err := f.enter(t.Context(), free)
		if err != nil {
			t.Fatal(err)
		}
		other()
	}
	leave()

	var inside atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		names := []string{"a", "b"}
		if i%2 == 0 {
			names = []string{"b", "link"}
		}
		all.Go(func() {
			leave, err := f.enter(t.Context(), mounts("rw", names...))
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two are in one folder")
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			leave()
		})
	}
	all.Wait()
}
