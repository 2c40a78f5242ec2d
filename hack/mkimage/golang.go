// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// goStamp names the Go toolchain and the busybox that the image is made from.
func goStamp() (string, error) {
	root, err := goRoot()
	if err != nil {
		return "", err
	}
	if err := checkStatic(filepath.Join(root, "bin", "go")); err != nil {
		return "", fmt.Errorf("%w (the toolchains of go.dev are)", err)
	}
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return "", err
	}
	busybox, err := busyboxStamp()
	return busybox + string(version), err
}

// goFiles writes busybox and, under /usr/local/go, what compiling, vetting and
// testing need of this machine's toolchain.
func goFiles(ctx context.Context, w *layerWriter) error {
	root, err := goRoot()
	if err != nil {
		return err
	}
	if err := busyboxFiles(ctx, w); err != nil {
		return err
	}
	if err := w.folder("usr/local", 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		to := filepath.ToSlash(filepath.Join("usr/local/go", rel))
		switch {
		case d.IsDir() && unneeded(rel):
			return fs.SkipDir
		case d.IsDir():
			return w.folder(to, 0o755)
		case d.Type().IsRegular():
			return w.file(to, name)
		default:
			return fmt.Errorf("%s is neither a file nor a folder", name)
		}
	})
}

// unneeded names the folders of a toolchain that no build reads.
func unneeded(rel string) bool {
	switch rel {
	case "api", "doc", "misc", "test":
		return true
	}
	return filepath.Base(rel) == "testdata"
}

func goRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for GOROOT: %w", err)
	}
	return filepath.EvalSymlinks(strings.TrimSpace(string(out)))
}
