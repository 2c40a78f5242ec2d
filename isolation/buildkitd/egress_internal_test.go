// SPDX-License-Identifier: Apache-2.0

//go:build linux

package buildkitd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/moby/buildkit/util/network"

	rules "github.com/attest-pipeline/attest/isolation/egress"
)

// open returns an egress and a server on loopback that accepts and does what
// serve does.
func open(t *testing.T, stall time.Duration, serve func(net.Conn)) (way *egressNamespace, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	ns, err := egress{stall: stall}.New(t.Context(), "", network.NamespaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns.(*egressNamespace), l.Addr().String()
}

// silent says nothing until the other end gives up.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestEgressGivesUpOnSilence(t *testing.T) {
	way, address := open(t, 50*time.Millisecond, silent)
	conn, err := way.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server that says nothing: %v", err)
	}
}

func TestEgressEndsWithTheStep(t *testing.T) {
	way, address := open(t, time.Hour, silent)
	conn, err := way.DialContext(context.WithoutCancel(t.Context()), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { way.Close() })
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives the step")
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if conn, err := way.DialContext(t.Context(), "tcp", address); err == nil {
		conn.Close()
		t.Error("a step that has ended connects")
	}
}

// A name that leads to this machine is refused when it has become an address,
// whatever it is called. /etc/hosts of every machine has such a name.
func TestEgressLooksAtAddresses(t *testing.T) {
	way, address := open(t, time.Hour, silent)
	_, port, _ := net.SplitHostPort(address)
	for _, host := range []string{"localhost.", "ip6-localhost", "169.254.169.254", "0.0.0.0"} {
		conn, err := way.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
			t.Errorf("%s is reached", host)
			continue
		}
		var unknown *net.DNSError
		if !errors.Is(err, rules.ErrRefused) && !errors.As(err, &unknown) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
