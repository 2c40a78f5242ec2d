// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

var errUnread = errors.New("nobody reads the output any more")

// untilUnread returns a context that ends when whoever reads our output goes
// away: that ends a run as Ctrl-C does, instead of leaving its steps behind.
// The signal alone does not tell, because it comes for every broken connection,
// that to an engine which died among them. It lasts as long as the program.
func untilUnread(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGPIPE)
	go func() {
		for range signals {
			if unread(os.Stdout) || unread(os.Stderr) {
				cancel(errUnread)
			}
		}
	}()
	return ctx
}

// unread reports whether f is a pipe that nobody reads from.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
