// SPDX-License-Identifier: Apache-2.0

package cachekey_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func preimage(t *testing.T, f cachekey.Facts, image string) cachekey.Preimage {
	t.Helper()
	p := cachekey.Preimage{Document: key(t, f).Document, Inputs: f.Inputs.(tree.Tree)}
	if !f.Image.IsZero() {
		p.Image = image + "@" + f.Image.String()
	}
	return p
}

// TestReasons changes the step of the vector in one way, or several.
func TestReasons(t *testing.T) {
	link := tree.Entry{Path: "src/main.js", Kind: tree.Symlink, Perm: 0o777, Size: 1, Digest: digest.Of([]byte("x")), Target: "x"}
	executable := file("src/main.js", "1\n")
	executable.Perm = 0o755
	other := digest.OfSHA256([]byte("other"))
	for _, tt := range []struct {
		name   string
		change func(*cachekey.Facts)
		want   string
		files  []cachekey.File
	}{
		{"nothing", func(*cachekey.Facts) {}, "", nil},
		{"content", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("package.json", "{}\n"), file("src/main.js", "2\n"))
		},
			"inputs changed: src/main.js", []cachekey.File{{Path: "src/main.js", Change: "changed"}}},
		{"added and removed", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("a", ""), file("src/main.js", "1\n"), file("z", ""))
		}, "inputs changed: a, package.json, z", []cachekey.File{{"a", "added"}, {"package.json", "removed"}, {"z", "added"}}},
		{"all gone", func(f *cachekey.Facts) { f.Inputs = tree.Tree{} },
			"inputs changed: package.json, src/main.js", []cachekey.File{{"package.json", "removed"}, {"src/main.js", "removed"}}},
		{"many", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("a", ""), file("b", ""), file("c", ""), file("package.json", "{}\n"), file("src/main.js", ""), file("z", ""))
		}, "inputs changed: a, b, c and 2 more", []cachekey.File{
			{"a", "added"}, {"b", "added"}, {"c", "added"}, {"src/main.js", "changed"}, {"z", "added"}}},
		{"execute bit", func(f *cachekey.Facts) { f.Inputs = treeOf(t, file("package.json", "{}\n"), executable) },
			"inputs changed: src/main.js", []cachekey.File{{"src/main.js", "mode"}}},
		{"a link", func(f *cachekey.Facts) { f.Inputs = treeOf(t, file("package.json", "{}\n"), link) },
			"inputs changed: src/main.js", []cachekey.File{{"src/main.js", "kind"}}},
		{"a variable", func(f *cachekey.Facts) { f.Env[0].Value = "development" }, "env NODE_ENV changed", nil},
		{"variables", func(f *cachekey.Facts) { f.Env[0].Value, f.Env[1].Name = "x", "CD" }, "env CD, CI, NODE_ENV changed", nil},
		{"a passed value", func(f *cachekey.Facts) { f.PassEnv[0].Value = "hunter3" }, "env TOKEN changed", nil},
		{"a passed variable that is there now", func(f *cachekey.Facts) { f.PassEnv[1].Set = true }, "env ABSENT changed", nil},
		{"no longer passed though it was absent", func(f *cachekey.Facts) { f.PassEnv = f.PassEnv[:1] }, "env ABSENT changed", nil},
		{"declared where it was passed", func(f *cachekey.Facts) {
			f.PassEnv, f.Env = f.PassEnv[1:], append(f.Env, pipeline.Var{Name: "TOKEN", Value: "x"})
		}, "env TOKEN changed", nil},
		{"command", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{"npm", "run"}} }, "command changed", nil},
		{"image", func(f *cachekey.Facts) { f.Image = other },
			"image changed: node:22@sha256:6105d6cc76af -> node:22@sha256:d9298a10d1b0", nil},
		{"no image", func(f *cachekey.Facts) { f.Image, f.Isolation = digest.Digest{}, pipeline.Process },
			"image changed: node:22 -> none; isolation changed: container -> process", nil},
		{"outputs", func(f *cachekey.Facts) { f.Outputs = nil }, "outputs changed", nil},
		{"folder", func(f *cachekey.Facts) { f.WorkingDir = "sub" }, "working_dir changed", nil},
		{"network", func(f *cachekey.Facts) { f.Network = pipeline.NetworkOpen }, "network changed: recorded -> open", nil},
		{"platform", func(f *cachekey.Facts) { f.Platform = "linux/arm64" }, "platform changed: linux/amd64 -> linux/arm64", nil},
		{"allow-list", func(f *cachekey.Facts) { f.NetworkAllow = nil }, "network allow-list changed", nil},
		{"lock", func(f *cachekey.Facts) { f.Locked = nil }, "attest.lock changed", nil},
		{"processors", func(f *cachekey.Facts) { f.CPUs = 0 }, "cpus changed: 2 -> all", nil},
		{"a secret", func(f *cachekey.Facts) { f.Secrets[0] = secret("NPM_TOKEN", "", "hunter5") }, "secret NPM_TOKEN changed", nil},
		{"secrets", func(f *cachekey.Facts) { f.Secrets = []executor.Secret{secret("A", "", "")} }, "secret A, NETRC, NPM_TOKEN changed", nil},
		{"caches", func(f *cachekey.Facts) { f.Caches = nil }, "caches changed", nil},
		{"deterministic", func(f *cachekey.Facts) { f.Deterministic = nil }, "deterministic changed: 2001-09-09T01:46:40Z 0 -> off", nil},
		{"virtual machine", func(f *cachekey.Facts) { f.Isolation = pipeline.VM }, "isolation changed: container -> vm", nil},
		{"several", func(f *cachekey.Facts) {
			f.Command.Shell, f.Env[0].Value, f.Inputs = "x", "y", treeOf(t, file("package.json", "{}\n"))
		}, "inputs changed: src/main.js; env NODE_ENV changed; command changed", []cachekey.File{{"src/main.js", "removed"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := vector(t)
			tt.change(&changed)
			changes, err := cachekey.Compare(preimage(t, vector(t), "node:22"), preimage(t, changed, "node:22"))
			if err != nil {
				t.Fatal(err)
			}
			if got := cachekey.Reason(changes); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var files []cachekey.File
			for _, c := range changes {
				files = append(files, c.Files...)
			}
			if d := cmp.Diff(tt.files, files); d != "" {
				t.Error(d)
			}
			for _, c := range changes {
				if strings.Contains(c.Before+c.After, "hunter") {
					t.Errorf("a passed value stands in %+v", c)
				}
			}
		})
	}
}

// TestCompareWithoutTheFiles: a tree that is not the one of the document names
// no files.
func TestCompareWithoutTheFiles(t *testing.T) {
	changed := vector(t)
	changed.Inputs = treeOf(t, file("package.json", ""))
	before, after := preimage(t, vector(t), ""), preimage(t, changed, "")
	before.Inputs = treeOf(t, file("another", "tree"))
	changes, err := cachekey.Compare(before, after)
	if got := cachekey.Reason(changes); err != nil || got != "inputs changed" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReasonNamesImages(t *testing.T) {
	a, b := digest.OfSHA256([]byte("a")).String(), digest.OfSHA256([]byte("b")).String()
	for _, tt := range []struct{ before, after, want string }{
		{"node:22@" + a, "node:23@" + b, "node:22 -> node:23"},
		{a, "node:23@" + b, a[:19] + " -> node:23"},
		{a, b, a[:19] + " -> " + b[:19]},
		{"oci-layout://x:1@" + a, "oci-layout://x:1@" + b, "oci-layout://x:1@" + a[:19] + " -> oci-layout://x:1@" + b[:19]},
		{"", "node:23@" + b, "none -> node:23"},
	} {
		got := cachekey.Reason([]cachekey.Change{{What: "image", Before: tt.before, After: tt.after}})
		if got != "image changed: "+tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestParts(t *testing.T) {
	f := vector(t)
	inputs, image, err := cachekey.Parts(key(t, f).Document)
	if err != nil || inputs != f.Inputs.Digest() || image != f.Image {
		t.Errorf("got %v, %v, %v", inputs, image, err)
	}
	f.Image = digest.Digest{}
	if _, image, err := cachekey.Parts(key(t, f).Document); err != nil || !image.IsZero() {
		t.Errorf("a process has the image %v, %v", image, err)
	}
	if _, _, err := cachekey.Parts([]byte("{}")); !errors.Is(err, cachekey.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestCompareRefuses(t *testing.T) {
	good := preimage(t, vector(t), "")
	for _, text := range []string{
		"", "{", "null", "[]", `{"version":"` + cachekey.Version + `"}`,
		string(good.Document) + " ", strings.Replace(string(good.Document), `"command"`, `"Command"`, 1),
	} {
		if _, err := cachekey.Compare(cachekey.Preimage{Document: []byte(text)}, good); err == nil {
			t.Errorf("%q was read", text)
		} else if changes, _ := cachekey.Compare(cachekey.Preimage{Document: []byte(text)}, good); changes != nil {
			t.Errorf("%q: an error and %v", text, changes)
		} else if !errors.Is(err, cachekey.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	newer := cachekey.Preimage{Document: []byte(`{"version":"attest.key/v9","what":"ever"}`)}
	changes, err := cachekey.Compare(newer, good)
	if got := cachekey.Reason(changes); err != nil || got != "format of keys changed" {
		t.Errorf("got %q, %v", got, err)
	}
}
