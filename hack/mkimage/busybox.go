// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// recipe changes whenever this program makes different images from the same
// sources.
const recipe = "1"

// busyboxStamp is the digest of this machine's busybox.
func busyboxStamp() (string, error) {
	name, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("%w (Debian: apt install busybox-static)", err)
	}
	if err := checkStatic(name); err != nil {
		return "", fmt.Errorf("%w (Debian: apt install busybox-static)", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("recipe %s\nbusybox sha256:%x\n", recipe, hash.Sum(nil)), nil
}

// busyboxFiles writes busybox, a link for each of its applets, and the few
// files without which programs are surprised.
func busyboxFiles(ctx context.Context, w *layerWriter) error {
	name, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	applets, err := exec.CommandContext(ctx, name, "--list").Output()
	if err != nil {
		return fmt.Errorf("listing applets: %w", err)
	}
	errs := []error{
		w.folder("bin", 0o755),
		w.file("bin/busybox", name),
	}
	for applet := range strings.Lines(string(applets)) {
		if applet = strings.TrimSpace(applet); applet != "busybox" {
			errs = append(errs, w.link("bin/"+applet, "busybox"))
		}
	}
	return errors.Join(append(errs,
		w.folder("dev", 0o755),
		w.folder("etc", 0o755),
		w.text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
		w.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		w.folder("proc", 0o755),
		w.folder("root", 0o700),
		w.folder("sys", 0o755),
		w.folder("tmp", 0o1777),
		w.folder("usr", 0o755),
		w.folder("usr/bin", 0o755),
		w.link("usr/bin/env", "../../bin/busybox"),
		w.folder("var", 0o755),
		w.folder("var/tmp", 0o1777),
	)...)
}

// checkStatic says whether a program runs without this machine's libraries.
func checkStatic(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked to this machine's libraries; a static one is needed", name)
		}
	}
	return nil
}
