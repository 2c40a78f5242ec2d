// SPDX-License-Identifier: Apache-2.0

package cachekey_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func file(path, content string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Perm: 0o644, Size: int64(len(content)), Digest: digest.Of([]byte(content))}
}

func treeOf(t *testing.T, entries ...tree.Entry) tree.Tree {
	t.Helper()
	tr, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// vector is the step of FORMAT.md's test vector.
func vector(t *testing.T) cachekey.Facts {
	return cachekey.Facts{
		Command: pipeline.Command{Shell: "npm run build"},
		Env:     []pipeline.Var{{Name: "NODE_ENV", Value: "production"}, {Name: "CI", Value: "<é>"}},
		PassEnv: []cachekey.Passed{{Name: "TOKEN", Value: "hunter2", Set: true}, {Name: "ABSENT"}},
		Inputs:  treeOf(t, file("package.json", "{}\n"), file("src/main.js", "1\n")),
		Outputs: []pipeline.Pattern{
			{Text: "dist", Folder: true},
			{Text: "build.log", Optional: true},
		},
		WorkingDir: ".",
		Image:      digest.OfSHA256([]byte("image")),
		Isolation:  pipeline.Container,
		Network:    pipeline.NetworkRecorded,

		NetworkAllow:  []string{"registry.npmjs.org", "*.example.org"},
		Locked:        map[string]digest.Digest{"https://registry.npmjs.org/left-pad": digest.OfSHA256([]byte("pad"))},
		CPUs:          2,
		Secrets:       []executor.Secret{secret("NPM_TOKEN", "", "hunter4"), secret("NETRC", "/root/.netrc", "")},
		SecretKey:     bytes.Repeat([]byte{1}, cachekey.SecretKeySize),
		Caches:        []executor.CacheFolder{{Name: "npm", Path: "/root/.npm"}},
		Deterministic: &executor.Determinism{Epoch: time.Unix(1000000000, 0), Seed: "0"},
		Platform:      "linux/amd64",
	}
}

func secret(name, mount, value string) executor.Secret {
	return executor.Secret{Name: name, Mount: mount, Value: executor.NewSecretValue([]byte(value))}
}

func key(t *testing.T, f cachekey.Facts) cachekey.Key {
	t.Helper()
	k, err := cachekey.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVectorOfFormat(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	k := key(t, vector(t))
	if k.Digest != digest.Of(k.Document) {
		t.Error("the key is not the digest of its document")
	}
	for what, want := range map[string]string{"document": string(k.Document), "digest": k.Digest.String()} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("FORMAT.md does not have this %s:\n%s", what, want)
		}
	}
	if bytes.Contains(k.Document, []byte("hunter2")) {
		t.Error("a passed value or a secret stands in the document")
	}
}

func TestOrderAndPlacesDoNotEnter(t *testing.T) {
	want := key(t, vector(t))
	other := vector(t)
	other.Env[0], other.Env[1] = other.Env[1], other.Env[0]
	other.PassEnv[0], other.PassEnv[1] = other.PassEnv[1], other.PassEnv[0]
	other.Outputs[0], other.Outputs[1] = other.Outputs[1], other.Outputs[0]
	other.Secrets[0], other.Secrets[1] = other.Secrets[1], other.Secrets[0]
	other.NetworkAllow[0], other.NetworkAllow[1] = other.NetworkAllow[1], other.NetworkAllow[0]
	other.Deterministic.Epoch = other.Deterministic.Epoch.In(time.FixedZone("x", 3600))
	other.Outputs[0].Pos = source.Pos{File: "other.yaml", Line: 9, Column: 9}
	other.Inputs = treeOf(t, file("src/main.js", "1\n"), file("package.json", "{}\n"))
	if got := key(t, other); got.Digest != want.Digest {
		t.Errorf("the order of declaration enters the key:\n%s\n%s", want.Document, got.Document)
	}
}

// TestEverythingEnters changes one fact at a time.
func TestEverythingEnters(t *testing.T) {
	changes := []struct {
		name   string
		change func(*cachekey.Facts)
	}{
		{"command", func(f *cachekey.Facts) { f.Command.Shell += " " }},
		{"kind of command: script", func(f *cachekey.Facts) { f.Command = pipeline.Command{Script: f.Command.Shell} }},
		{"kind of command: words", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{f.Command.Shell}} }},
		{"words split", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{"npm", "run build"}} }},
		{"words split elsewhere", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{"npm run", "build"}} }},
		{"an empty word more", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{"npm", "run build", ""}} }},
		{"a comma in a word", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{`npm","run build`}} }},
		{"env value", func(f *cachekey.Facts) { f.Env[0].Value = "development" }},
		{"env value with a newline", func(f *cachekey.Facts) { f.Env[0].Value = "production\nCI=1" }},
		{"env name", func(f *cachekey.Facts) { f.Env[0].Name = "NODE_ENV2" }},
		{"env empty", func(f *cachekey.Facts) { f.Env[0].Value = "" }},
		{"env absent", func(f *cachekey.Facts) { f.Env = f.Env[1:] }},
		{"env of equals signs", func(f *cachekey.Facts) { f.Env[0] = pipeline.Var{Name: "NODE", Value: "ENV=production"} }},
		{"passed value", func(f *cachekey.Facts) { f.PassEnv[0].Value = "hunter3" }},
		{"passed value empty", func(f *cachekey.Facts) { f.PassEnv[0].Value = "" }},
		{"passed value absent", func(f *cachekey.Facts) { f.PassEnv[0] = cachekey.Passed{Name: "TOKEN"} }},
		{"passed name gone", func(f *cachekey.Facts) { f.PassEnv = f.PassEnv[:1] }},
		{"passed name and value shifted", func(f *cachekey.Facts) { f.PassEnv[0] = cachekey.Passed{Name: "TOKENh", Value: "unter2", Set: true} }},
		{"content", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("package.json", "{}\n"), file("src/main.js", "2\n"))
		}},
		{"contents swapped", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("package.json", "1\n"), file("src/main.js", "{}\n"))
		}},
		{"content moved across files", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("package.json", "{}"), file("src/main.js", "\n1\n"))
		}},
		{"path", func(f *cachekey.Facts) {
			f.Inputs = treeOf(t, file("package.json", "{}\n"), file("src/Main.js", "1\n"))
		}},
		{"file gone", func(f *cachekey.Facts) { f.Inputs = treeOf(t, file("package.json", "{}\n")) }},
		{"no inputs", func(f *cachekey.Facts) { f.Inputs = tree.Tree{} }},
		{"execute bit", func(f *cachekey.Facts) {
			e := file("src/main.js", "1\n")
			e.Perm = 0o755
			f.Inputs = treeOf(t, file("package.json", "{}\n"), e)
		}},
		{"symbolic link of the same bytes", func(f *cachekey.Facts) {
			e := file("src/main.js", "1\n")
			e.Kind, e.Perm, e.Target = tree.Symlink, 0o777, "1\n"
			f.Inputs = treeOf(t, file("package.json", "{}\n"), e)
		}},
		{"output path", func(f *cachekey.Facts) { f.Outputs[0].Text = "dist2" }},
		{"output folder", func(f *cachekey.Facts) { f.Outputs[0].Folder = false }},
		{"output optional", func(f *cachekey.Facts) { f.Outputs[1].Optional = false }},
		{"output glob", func(f *cachekey.Facts) { f.Outputs[1].Glob = true }},
		{"output excluded", func(f *cachekey.Facts) { f.Outputs[1].Exclude = true }},
		{"output more", func(f *cachekey.Facts) { f.Outputs = append(f.Outputs, pipeline.Pattern{Text: "x"}) }},
		{"no outputs", func(f *cachekey.Facts) { f.Outputs = nil }},
		{"working_dir", func(f *cachekey.Facts) { f.WorkingDir = "frontend" }},
		{"image", func(f *cachekey.Facts) { f.Image = digest.OfSHA256([]byte("other")) }},
		{"no image", func(f *cachekey.Facts) { f.Image = digest.Digest{} }},
		{"isolation", func(f *cachekey.Facts) { f.Isolation = pipeline.Process }},
		{"network", func(f *cachekey.Facts) { f.Network = pipeline.NetworkOpen }},
		{"platform", func(f *cachekey.Facts) { f.Platform = "linux/arm64" }},
		{"virtual machine", func(f *cachekey.Facts) { f.Isolation = pipeline.VM }},
		{"any host", func(f *cachekey.Facts) { f.NetworkAllow = nil }},
		{"another host", func(f *cachekey.Facts) { f.NetworkAllow[0] = "npmjs.org" }},
		{"a host more", func(f *cachekey.Facts) { f.NetworkAllow = append(f.NetworkAllow, "a") }},
		{"another locked digest", func(f *cachekey.Facts) {
			f.Locked = map[string]digest.Digest{"https://registry.npmjs.org/left-pad": digest.OfSHA256([]byte("pod"))}
		}},
		{"another locked URL", func(f *cachekey.Facts) {
			f.Locked = map[string]digest.Digest{"https://registry.npmjs.org/left": digest.OfSHA256([]byte("pad"))}
		}},
		{"nothing locked", func(f *cachekey.Facts) { f.Locked = nil }},
		{"processors", func(f *cachekey.Facts) { f.CPUs = 3 }},
		{"all processors", func(f *cachekey.Facts) { f.CPUs = 0 }},
		{"secret value", func(f *cachekey.Facts) { f.Secrets[0] = secret("NPM_TOKEN", "", "hunter5") }},
		{"secret value empty", func(f *cachekey.Facts) { f.Secrets[0] = secret("NPM_TOKEN", "", "") }},
		{"secret name and value shifted", func(f *cachekey.Facts) { f.Secrets[0] = secret("NPM_TOKENh", "", "unter4") }},
		{"secret mounted elsewhere", func(f *cachekey.Facts) { f.Secrets[1] = secret("NETRC", "/netrc", "") }},
		{"secret gone", func(f *cachekey.Facts) { f.Secrets = f.Secrets[:1] }},
		{"key of the secrets", func(f *cachekey.Facts) { f.SecretKey = bytes.Repeat([]byte{2}, cachekey.SecretKeySize) }},
		{"cache elsewhere", func(f *cachekey.Facts) { f.Caches[0].Path = "/npm" }},
		{"another cache", func(f *cachekey.Facts) { f.Caches[0].Name = "npm2" }},
		{"no cache", func(f *cachekey.Facts) { f.Caches = nil }},
		{"not deterministic", func(f *cachekey.Facts) { f.Deterministic = nil }},
		{"another epoch", func(f *cachekey.Facts) { f.Deterministic.Epoch = time.Unix(1000000001, 0) }},
		{"another seed", func(f *cachekey.Facts) { f.Deterministic.Seed = "1" }},
	}
	seen := map[digest.Digest]string{key(t, vector(t)).Digest: "nothing"}
	for _, c := range changes {
		f := vector(t)
		c.change(&f)
		k := key(t, f)
		if other, ok := seen[k.Digest]; ok {
			t.Errorf("changing %q gives the key of changing %q", c.name, other)
		}
		seen[k.Digest] = c.name
	}
}

func TestInvalidFacts(t *testing.T) {
	tests := []struct {
		name   string
		change func(*cachekey.Facts)
	}{
		{"no command", func(f *cachekey.Facts) { f.Command = pipeline.Command{} }},
		{"two commands", func(f *cachekey.Facts) { f.Command.Script = "#!/bin/sh\n" }},
		{"variable twice", func(f *cachekey.Facts) { f.Env[0].Name = f.Env[1].Name }},
		{"passed twice", func(f *cachekey.Facts) { f.PassEnv[0].Name = f.PassEnv[1].Name }},
		{"secret twice", func(f *cachekey.Facts) { f.Secrets[0].Name = f.Secrets[1].Name }},
		{"cache twice", func(f *cachekey.Facts) { f.Caches = append(f.Caches, f.Caches[0]) }},
		{"secrets without a key", func(f *cachekey.Facts) { f.SecretKey = nil }},
		{"secrets with a short key", func(f *cachekey.Facts) { f.SecretKey = f.SecretKey[1:] }},
		{"a secret alone without a key", func(f *cachekey.Facts) { f.SecretKey, f.PassEnv = nil, nil }},
		{"a passed value alone without a key", func(f *cachekey.Facts) { f.SecretKey, f.Secrets = nil, nil }},
		{"value not UTF-8", func(f *cachekey.Facts) { f.Env[0].Value = "\xff" }},
		{"word not UTF-8", func(f *cachekey.Facts) { f.Command = pipeline.Command{Argv: []string{"\xc3"}} }},
		{"output not UTF-8", func(f *cachekey.Facts) { f.Outputs[0].Text = "a\xfe" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := vector(t)
			tt.change(&f)
			if k, err := cachekey.New(f); !errors.Is(err, cachekey.ErrInvalid) {
				t.Errorf("got key %v, error %v; want an error that matches ErrInvalid", k.Digest, err)
			}
		})
	}
}

// TestNoHosts: a list without hosts is written as a list, as FORMAT.md has it.
func TestNoHosts(t *testing.T) {
	for _, none := range [][]string{nil, {}} {
		f := vector(t)
		f.NetworkAllow = none
		if k := key(t, f); !bytes.Contains(k.Document, []byte(`"network_allow":[]`)) {
			t.Errorf("%#v: %s", none, k.Document)
		}
	}
}

// TestSameWorkInTwoFolders makes the same files in two folders under two umasks
// and in two orders.
func TestSameWorkInTwoFolders(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no umask")
	}
	names := []string{"b/run.sh", "a.txt", "b/c/d", "z\nnewline", "é"}
	keyIn := func(dir string, mask int, names []string) cachekey.Key {
		defer syscall.Umask(syscall.Umask(mask))
		for _, n := range names {
			p := filepath.Join(dir, n)
			if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
				t.Fatal(err)
			}
			perm := os.FileMode(0o666)
			if strings.HasSuffix(n, ".sh") {
				perm = 0o777
			}
			if err := os.WriteFile(p, []byte("content of "+n), perm); err != nil {
				t.Fatal(err)
			}
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		f := vector(t)
		if f.Inputs, err = (tree.Hasher{}).Scan(context.Background(), root, "", nil); err != nil {
			t.Fatal(err)
		}
		return key(t, f)
	}
	back := []string{"é", "z\nnewline", "b/c/d", "a.txt", "b/run.sh"}
	one, two := keyIn(t.TempDir(), 0o022, names), keyIn(t.TempDir(), 0o077, back)
	if one.Digest != two.Digest {
		t.Errorf("two folders with the same files give two keys:\n%s\n%s", one.Document, two.Document)
	}
}

// TestFoldedStringsDiffer guards the reader's side too: strings that JSON
// escapes in several ways keep apart.
func TestFoldedStringsDiffer(t *testing.T) {
	seen := map[digest.Digest]string{}
	for _, s := range []string{"a b", "a\tb", "a\nb", `a\nb`, "a\\\nb", "a\u2028b", `a\u2028b`, "a\x00b", "é", "e\u0301", "\ufffd", `"`, `\"`} {
		f := vector(t)
		f.Command = pipeline.Command{Shell: s}
		k := key(t, f)
		if other, ok := seen[k.Digest]; ok {
			t.Errorf("%q and %q have one key", s, other)
		}
		seen[k.Digest] = s
	}
}
