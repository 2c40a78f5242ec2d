// SPDX-License-Identifier: Apache-2.0

package landing_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/landing"
)

// childEnv tells the test binary to be a child that does one thing and ends.
const childEnv = "ATTEST_LANDING_CHILD"

func TestMain(m *testing.M) {
	what, dir, ok := strings.Cut(os.Getenv(childEnv), ":")
	if !ok {
		os.Exit(m.Run())
	}
	var err error
	switch what {
	case "land-for-ever":
		err = landForEver(dir)
	case "read-only":
		err = landReadOnly(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(what, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what+":"+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// generation writes the folder d, whose files all hold the same number.
func generation(dir string, n int) error {
	at := filepath.Join(dir, staging, "d")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(at, fmt.Sprint(i)), fmt.Append(nil, n), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// landForEver lands one generation after the other.
func landForEver(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := generation(dir, n); err != nil {
			return err
		}
		if _, err := landing.Land(root, staging, whole("d")); err != nil {
			return err
		}
		if err := landing.RemoveAll(root, staging); err != nil {
			return err
		}
	}
}

// oneGeneration returns an error unless the files of the folder d, held open,
// are ten and of one generation.
func oneGeneration(dir string) error {
	d, err := os.OpenRoot(filepath.Join(dir, "d"))
	if err != nil {
		return err
	}
	defer d.Close()
	first := ""
	for i := range 10 {
		data, err := d.ReadFile(fmt.Sprint(i))
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			return nil // the folder was replaced, and removed, after it was opened
		}
		if err != nil {
			return err
		}
		if first == "" {
			first = string(data)
		}
		if string(data) != first {
			return fmt.Errorf("file %d is of generation %q, others of %q", i, data, first)
		}
	}
	return nil
}

// TestKilledAtAnyMoment kills a process that lands, and looks at what it left.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("many processes")
	}
	root := project(t, nil)
	dir := root.Name()
	seen := 0
	for n := range 40 {
		cmd := child("land-for-ever", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+n) * time.Millisecond)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v", err)
		}
		err := oneGeneration(dir)
		switch {
		case err == nil:
			seen++
		case seen > 0 || !errors.Is(err, fs.ErrNotExist):
			t.Fatalf("after kill %d: %v", n, err)
		}
		if err := landing.RemoveAll(root, ".attest/tmp"); err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Error("no child ever landed anything")
	}
}

// TestAlwaysThere reads a folder all the while that it is replaced.
func TestAlwaysThere(t *testing.T) {
	root := project(t, nil)
	dir := root.Name()
	if err := errors.Join(generation(dir, -1), os.Rename(filepath.Join(dir, staging, "d"), filepath.Join(dir, "d"))); err != nil {
		t.Fatal(err)
	}
	cmd := child("land-for-ever", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	looks := 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); looks++ {
		if _, err := os.Lstat(filepath.Join(dir, "d")); err != nil {
			t.Fatalf("after %d looks: %v", looks, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "d/0")); err != nil || string(data) == "-1" {
		t.Errorf("nothing was landed during %d looks: %q, %v", looks, data, err)
	}
}

// landReadOnly replaces a folder that nobody may write by another such one.
func landReadOnly(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	if _, err := landing.Land(root, staging, append(whole("d", "gone"), matches("new")...)); err != nil {
		return err
	}
	for p, want := range map[string]os.FileMode{"d": 0o555, "d/sub": 0o500} {
		if info, err := root.Lstat(p); err != nil || info.Mode().Perm() != want {
			return fmt.Errorf("%s: mode %v, %v; want %v", p, info.Mode(), err, want)
		}
	}
	if _, err := root.Lstat("d/sub/new"); err != nil {
		return err
	}
	return landing.RemoveAll(root, ".attest/tmp")
}

// TestReadOnlyFolders runs as a user whom permission bits bind.
func TestReadOnlyFolders(t *testing.T) {
	root := project(t, map[string]string{
		"d/sub/old": "old", "gone/x": "old", staging + "/d/sub/new": "new", staging + "/new/": "",
	})
	dir := root.Name()
	for p, mode := range map[string]os.FileMode{
		"d/sub": 0o500, "d": 0o555, "gone": 0o500,
		staging + "/d/sub": 0o500, staging + "/d": 0o555, staging + "/new": 0o500,
	} {
		if err := os.Chmod(filepath.Join(dir, p), mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := child("read-only", dir)
	if os.Getuid() == 0 {
		const nobody = 65534
		err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(p, nobody, nobody))
		})
		if err != nil {
			t.Fatal(err)
		}
		// The folders above the project are root's alone, so the child gets
		// the test binary and the project at a place that anybody may enter.
		open, err := os.MkdirTemp("/tmp", "attest-landing-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(open) })
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, filepath.Join(open, "p")); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(open, "p")
		data, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(open, "test"), data, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd = child("read-only", dir)
		cmd.Path = filepath.Join(open, "test")
		cmd.Dir = open
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".attest/tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read-only leftovers stay: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an output of an earlier run stays: %v", err)
	}
}

// TestAnotherFileSystem needs root, to mount one.
func TestAnotherFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := project(t, map[string]string{"d/": "", staging + "/d/a": "new", staging + "/b": "new"})
	at := filepath.Join(root.Name(), "d")
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("mounting is not to be had here:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
	for _, units := range [][]landing.Unit{append(whole("b"), whole("d/a")...), append(whole("b"), whole("d")...)} {
		_, err := landing.Land(root, staging, units)
		if err == nil || !strings.Contains(err.Error(), "file system") {
			t.Errorf("error is %v, want one about the file system", err)
		}
		if _, err := root.Lstat("b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an output stays of what did not succeed: %v", err)
		}
	}
}
