// SPDX-License-Identifier: Apache-2.0

package receipttest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// files of the project: mode is "dir", "0644", "0755" or "-> target".
var files = []struct{ path, mode, content string }{
	{"attest.yaml", "0644", "version: \"0.1\"\nname: demo\nsteps: {}\n"},
	{"README.md", "0644", "# demo\n"},
	{"notes.txt", "0644", "no step reads this\n"},
	{"src/main.c", "0644", "int main(void) { return 0; }\n"},
	{"src/lib/util.c", "0644", "int util(void) { return 1; }\n"},
	{"src/configure", "0755", "#!/bin/sh\n"},
	{"src/empty", "dir", ""},
	{"src/current", "-> lib", ""},
	{"dist/app", "0755", "the application\n"},
	{"dist/doc/a.txt", "0644", "alpha\n"},
	{"dist/doc/b.txt", "0644", "beta\n"},
	{"dist/latest", "-> app", ""},
	{"report.txt", "0644", "all is well\n"},
}

// Project writes a small project below dir, as it is after a run of two steps,
// and returns the unsigned receipt of that run. The listings of its folders are
// kept where verification looks for them.
func Project(t testing.TB, dir string) *receipt.Receipt {
	t.Helper()
	for _, f := range files {
		if err := write(filepath.Join(dir, f.path), f.mode, f.content); err != nil {
			t.Fatal(err)
		}
	}
	r := &receipt.Receipt{
		Schema:       receipt.Schema,
		PipelineHash: digest.Of([]byte(files[0].content)),
		Timestamp:    time.Date(2026, 12, 1, 14, 30, 52, 0, time.UTC),
		Duration:     1500 * time.Millisecond,
		Version:      "0.1.0",
		Status:       receipt.Succeeded,
		Pipeline:     receipt.Pipeline{Name: "demo", File: "attest.yaml"},
		Environment:  receipt.Environment{OS: "linux", Arch: "amd64"},
		Steps: []receipt.Step{
			{Name: "build", Command: "make", Status: receipt.Succeeded, Duration: time.Second, Cache: receipt.Off, Isolation: "process"},
			{Name: "test", Command: "make test", Status: receipt.Succeeded, Duration: 500 * time.Millisecond, Cache: receipt.Off, Isolation: "process", Needs: []string{"build"}},
		},
	}
	Record(t, dir, r, 0, []string{"README.md", "src"}, []string{"dist"})
	Record(t, dir, r, 1, []string{"dist/app", "dist/doc"}, []string{"report.txt"})
	return r
}

func write(path, mode, content string) error {
	if mode == "dir" {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch mode {
	case "0644":
		return os.WriteFile(path, []byte(content), 0o644)
	case "0755":
		return errors.Join(os.WriteFile(path, []byte(content), 0o755), os.Chmod(path, 0o755))
	default:
		return os.Symlink(mode[len("-> "):], path)
	}
}

// Record sets what one step of the receipt read and left, as it is on disk now:
// files and folders with all that is below them.
func Record(t testing.TB, dir string, r *receipt.Receipt, step int, inputs, outputs []string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	list := func(name string) ([]string, error) {
		entries, err := fs.ReadDir(root.FS(), name)
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = e.Name()
		}
		return names, err
	}
	in, out := Select(t, root, inputs), Select(t, root, outputs)
	s := &r.Steps[step]
	if s.Inputs, err = receipt.Cover(in, list); err != nil {
		t.Fatal(err)
	}
	if s.Outputs, err = receipt.CoverOutputs(out, list); err != nil {
		t.Fatal(err)
	}
	keep(t, dir, in, s.Inputs)
	keep(t, dir, out, s.Outputs)
}

// Select reads files and folders below root, with both digests.
func Select(t testing.TB, root *os.Root, names []string) tree.Tree {
	t.Helper()
	wanted := func(p string) bool {
		for _, name := range names {
			if p == name || len(p) > len(name) && p[:len(name)+1] == name+"/" {
				return true
			}
		}
		return false
	}
	all, err := (tree.Hasher{SHA256: true}).Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var entries []tree.Entry
	for _, e := range all.Entries() {
		if wanted(e.Path) {
			entries = append(entries, e)
		}
	}
	selected, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return selected
}

// keep stores the listing of every folder, named by its digest.
func keep(t testing.TB, dir string, all tree.Tree, paths []receipt.Path) {
	t.Helper()
	store := filepath.Join(dir, ".attest", receipt.ListingsDir)
	if err := os.MkdirAll(store, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if p.Mode != "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(store, p.Hash.Hex()), all.Below(p.Path).Listing(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
