// SPDX-License-Identifier: Apache-2.0

// Command mkimage makes the images that the examples and the tests run in, as
// OCI layouts, from what this machine has: its busybox, its Go toolchain, and
// Debian packages through apt. No registry is asked.
//
//	go run ./hack/mkimage -o build/images busybox go debian
//
// One set of sources always gives the same image, byte for byte: every time in
// it is the epoch, every owner is root, and files are in the order of their
// names. An image whose sources have not changed is left alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

// image is something that mkimage can make.
type image struct {
	// stamp says what the image is made from: equal stamps, equal images.
	stamp func() (string, error)
	// files writes the image's files as one tar archive.
	files func(ctx context.Context, w *layerWriter) error
	env   []string
}

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	out := flags.String("o", "build/images", "folder to write the layouts below")
	force := flags.Bool("force", false, "make images anew that are up to date")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	images := map[string]image{
		"busybox": {stamp: busyboxStamp, files: busyboxFiles, env: []string{path}},
		"go": {stamp: goStamp, files: goFiles, env: []string{
			path + ":/usr/local/go/bin", "CGO_ENABLED=0", "GOTOOLCHAIN=local",
		}},
		"debian": {stamp: debianStamp, files: debianFiles, env: []string{path}},
	}
	for _, name := range flags.Args() {
		img, ok := images[name]
		if !ok {
			return fmt.Errorf("no image %q: there are busybox, go and debian", name)
		}
		if err := build(ctx, filepath.Join(*out, name), img, *force); err != nil {
			return fmt.Errorf("making image %s: %w", name, err)
		}
	}
	return nil
}

// build makes one image, unless the stamp beside it says that it is there.
func build(ctx context.Context, dir string, img image, force bool) error {
	stamp, err := img.stamp()
	if err != nil {
		return err
	}
	stampFile := dir + ".stamp"
	if old, err := os.ReadFile(stampFile); err == nil && string(old) == stamp && !force {
		fmt.Printf("%s is up to date\n", dir)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".mkimage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	digest, err := writeLayout(ctx, work, img)
	if err != nil {
		return err
	}
	// The stamp goes first and comes last: an interrupted run leaves none.
	if err := errors.Join(os.RemoveAll(stampFile), os.RemoveAll(dir)); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(work, "layout"), dir); err != nil {
		return err
	}
	fmt.Printf("%s is %s\n", dir, digest)
	return os.WriteFile(stampFile, []byte(stamp), 0o644)
}
