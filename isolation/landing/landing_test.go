// SPDX-License-Identifier: Apache-2.0

package landing_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/isolation/landing"
)

// staging is where the tests' staging folder is in their project.
const staging = ".attest/tmp/run/0/out"

// project makes a folder with the given files, whose staging folder is there.
// A path that ends with a slash is a folder, content "-> x" a symbolic link.
func project(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for p, content := range files {
		name := filepath.Join(dir, filepath.FromSlash(p))
		parent := filepath.Dir(name)
		if strings.HasSuffix(p, "/") {
			parent = name
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(p, "/"):
		case strings.HasPrefix(content, "-> "):
			err = os.Symlink(content[3:], name)
		default:
			err = os.WriteFile(name, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, staging), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// content returns what is in the project without .attest, as project takes it;
// only empty folders are named.
func content(t *testing.T, root *os.Root) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		switch {
		case p == ".attest":
			return fs.SkipDir
		case d.IsDir():
			got[p+"/"] = ""
		case d.Type()&fs.ModeSymlink != 0:
			target, err := root.Readlink(p)
			got[p] = "-> " + target
			return err
		default:
			data, err := root.ReadFile(p)
			got[p] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range got {
		for dir := filepath.Dir(strings.TrimSuffix(p, "/")); dir != "."; dir = filepath.Dir(dir) {
			delete(got, dir+"/")
		}
	}
	return got
}

func whole(paths ...string) (units []landing.Unit) {
	for _, p := range paths {
		units = append(units, landing.Unit{Path: p, Whole: true})
	}
	return units
}

func matches(paths ...string) (units []landing.Unit) {
	for _, p := range paths {
		units = append(units, landing.Unit{Path: p})
	}
	return units
}

func TestLand(t *testing.T) {
	type files = map[string]string
	const s = staging + "/"
	tests := []struct {
		name  string
		files files
		units []landing.Unit
		want  files
	}{
		{"a file that was not there", files{s + "a": "new"}, whole("a"), files{"a": "new"}},
		{"a file that was there", files{"a": "old", s + "a": "new"}, whole("a"), files{"a": "new"}},
		{"a file in folders that were not there", files{s + "x/y/a": "new"}, whole("x/y/a"), files{"x/y/a": "new"}},
		{"a folder loses stale files", files{"d/old": "1", "d/sub/older": "2", s + "d/new": "3"}, whole("d"), files{"d/new": "3"}},
		{"a folder takes a file's place", files{"d": "file", s + "d/new": "3"}, whole("d"), files{"d/new": "3"}},
		{"a file takes a folder's place", files{"d/old": "1", s + "d": "file"}, whole("d"), files{"d": "file"}},
		{"an empty folder takes a full one's place", files{"d/old": "1", s + "d/": ""}, whole("d"), files{"d/": ""}},
		{"a link takes a folder's place", files{"d/old": "1", s + "d": "-> /etc"}, whole("d"), files{"d": "-> /etc"}},
		{"a folder takes a link's place, not its target's", files{"t/keep": "1", "d": "-> t", s + "d/new": "3"}, whole("d"),
			files{"t/keep": "1", "d/new": "3"}},
		{"an optional file that is no more", files{"a": "old", "b": "keep"}, whole("a"), files{"b": "keep"}},
		{"an optional folder that is no more", files{"x/d/old": "1", "b": "keep"}, whole("x/d"), files{"b": "keep"}},
		{"nothing there and nothing left", files{"b": "keep"}, whole("a", "x/y", "b/z"), files{"b": "keep"}},
		{"matches of a glob", files{"o/1": "old", "o/mine": "keep", s + "o/1": "new", s + "o/2": "new"}, matches("o/1", "o/2"),
			files{"o/1": "new", "o/2": "new", "o/mine": "keep"}},
		{"a stale match, and the folder that it leaves empty", files{"o/x/y/1": "old", "o/mine": "keep"}, matches("o/x/y/1"),
			files{"o/mine": "keep"}},
		{"a stale match makes way for a folder", files{"o": "old", s + "o/1": "new"}, matches("o/1", "o"), files{"o/1": "new"}},
		{"stale matches make way for a file", files{"o/1": "old", s + "o": "new"}, matches("o", "o/1"), files{"o": "new"}},
		{"a folder where a stale match was is not the step's", files{"o/mine": "keep"}, matches("o"), files{"o/mine": "keep"}},
		{"an empty folder of a glob", files{s + "o/e/": ""}, matches("o/e"), files{"o/e/": ""}},
		{"an empty folder of a glob that is there", files{"o/e/": "", s + "o/e/": ""}, matches("o/e"), files{"o/e/": ""}},
		{"names that are awkward", files{s + "-n/a b\n\x01": "1", s + "\xff\xfe": "2"}, whole("-n", "\xff\xfe"),
			files{"-n/a b\n\x01": "1", "\xff\xfe": "2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := project(t, tt.files)
			before := content(t, root)
			done, err := landing.Land(root, staging, tt.units, ".attest", ".git")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, content(t, root)); diff != "" {
				t.Errorf("after landing (-want +got):\n%s", diff)
			}
			if err := done.Undo(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, content(t, root)); diff != "" {
				t.Errorf("after taking it back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusals has what must not be done; after each, nothing has changed.
func TestRefusals(t *testing.T) {
	type files = map[string]string
	const s = staging + "/"
	tests := []struct {
		name  string
		files files
		units []landing.Unit
	}{
		{"through a link that leaves the project", files{"d": "-> OUTSIDE", s + "d/a": "evil"}, whole("d/a")},
		{"through a link in the middle", files{"x/d": "-> OUTSIDE", s + "x/d/a": "evil"}, matches("x/d/a")},
		{"through a relative link out", files{"d": "-> ../001", s + "d/a": "evil"}, whole("d/a")},
		{"through a link inside the project", files{"t/a": "keep", "d": "-> t", s + "d/a": "evil"}, whole("d/a")},
		{"removing through a link", files{"d": "-> OUTSIDE"}, whole("d/a")},
		{"below a file", files{"d": "file", s + "d/a": "new"}, whole("d/a")},
		{"into .attest", files{".attest/keys/k": "keep", s + ".attest/keys/k": "evil"}, matches(".attest/keys/k")},
		{"all of .attest", files{s + ".attest/keys/k": "evil"}, whole(".attest")},
		{"into .git", files{".git/hooks/": "", s + ".git/hooks/pre-commit": "evil"}, matches(".git/hooks/pre-commit")},
		{"over the pipeline", files{"conf/attest.yaml": "keep", s + "conf/attest.yaml": "evil"}, matches("conf/attest.yaml")},
		{"over the pipeline's folder", files{"conf/attest.yaml": "keep", s + "conf/x": "evil"}, whole("conf")},
		{"out by the path", files{}, whole("../x")},
		{"by an absolute path", files{}, whole("/tmp/x")},
		{"the project itself", files{}, whole(".")},
		{"a path that is not clean", files{s + "a": "1"}, whole("x/../a")},
		{"a glob's file over a folder", files{"src/main": "keep", s + "src": "evil"}, matches("src")},
		{"a glob's empty folder over a full one", files{"src/main": "keep", s + "src/": ""}, matches("src")},
		{"a good one before a bad one", files{"a": "old", "b/": "", "d": "-> t", s + "a": "new", s + "n/1": "new", s + "d/a": "evil"},
			append(whole("a", "n/1", "b"), whole("d/a")...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outside := t.TempDir() // ../001, seen from the project
			if err := os.WriteFile(filepath.Join(outside, "a"), []byte("theirs"), 0o644); err != nil {
				t.Fatal(err)
			}
			for p, content := range tt.files {
				tt.files[p] = strings.ReplaceAll(content, "OUTSIDE", outside)
			}
			root := project(t, tt.files)
			if _, err := root.Stat("d"); tt.name == "through a relative link out" && !strings.Contains(err.Error(), "escapes") {
				t.Fatal("the test's link does not lead out:", err)
			}
			before := content(t, root)
			_, err := landing.Land(root, staging, tt.units, ".attest", ".git", "conf/attest.yaml")
			if err == nil {
				t.Error("it was done")
			}
			if diff := cmp.Diff(before, content(t, root)); diff != "" {
				t.Errorf("the project changed (-want +got):\n%s", diff)
			}
			if data, _ := os.ReadFile(filepath.Join(outside, "a")); string(data) != "theirs" {
				t.Errorf("a file outside the project is now %q", data)
			}
			if _, err := os.Lstat(filepath.Join(root.Name(), ".attest/keys/k")); tt.name == "into .attest" && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusalSaysWhatAndWhy(t *testing.T) {
	root := project(t, map[string]string{"d": "-> " + t.TempDir(), staging + "/d/a": "evil"})
	_, err := landing.Land(root, staging, whole("d/a"))
	if !errors.Is(err, landing.ErrRefused) || !strings.Contains(err.Error(), `"d/a"`) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("error is %v", err)
	}
}

func TestModesStay(t *testing.T) {
	root := project(t, map[string]string{"a": "old", staging + "/a": "new", staging + "/d/b": "new"})
	at := filepath.Join(root.Name(), staging)
	for p, mode := range map[string]os.FileMode{"a": 0o750, "d/b": 0o604, "d": 0o711} {
		if err := os.Chmod(filepath.Join(at, p), mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := landing.Land(root, staging, whole("a", "d")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{"a": 0o750, "d/b": 0o604, "d": 0o711 | os.ModeDir} {
		if info, err := root.Lstat(p); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, error %v; want %v", p, info.Mode(), err, want)
		}
	}
}

func TestEndOfContextEndsPrepare(t *testing.T) {
	root := project(t, map[string]string{staging + "/a": "1"})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := landing.Prepare(ctx, root); !errors.Is(err, stop) {
		t.Errorf("error is %v, want %v", err, stop)
	}
}
