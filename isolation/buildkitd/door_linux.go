// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"

	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// doorAddress is where every step with a recorded network finds its proxy.
// BuildKit's own address is another one each time, and the step's environment
// holds it: two runs of one step would not be the same.
const (
	doorAddress = "127.0.0.1" + doorPort
	doorPort    = ":3128"
	noProxy     = "127.0.0.1,localhost,::1" // what a step reaches without it
)

// door is a recorded network whose proxy is reached at doorAddress, on the
// loopback of the step's own namespace. It hands on what it is sent, and ends
// with the network.
type door struct {
	network.ProxyNamespace
	namespace string // the path of the step's network namespace
	proxy     string // BuildKit's address
	listener  net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after the end
}

// openDoor makes the door to a proxy, which ends with it.
func openDoor(ns network.ProxyNamespace) (*door, error) {
	d := &door{ProxyNamespace: ns, conns: map[net.Conn]struct{}{}}
	var spec specs.Spec
	if err := ns.Set(&spec); err != nil {
		return nil, err
	}
	if spec.Linux == nil || len(spec.Linux.Namespaces) != 1 || spec.Linux.Namespaces[0].Path == "" {
		return nil, errors.New("the proxy has no network namespace")
	}
	d.namespace = spec.Linux.Namespaces[0].Path
	for _, v := range ns.ProxyEnv() {
		if address, ok := strings.CutPrefix(v, "HTTP_PROXY=http://"); ok {
			d.proxy = address
		}
	}
	err := within(d.namespace, func() (err error) {
		d.listener, err = net.Listen("tcp4", doorAddress)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the way to the proxy: %w", err)
	}
	go d.serve()
	return d, nil
}

// ProxyEnv implements [network.ProxyNamespace].
func (d *door) ProxyEnv() []string {
	return network.ProxyEnv("http://"+doorAddress, noProxy)
}

// Close implements [network.Namespace].
func (d *door) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	conns := d.conns
	d.conns = nil
	d.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	return errors.Join(err, d.ProxyNamespace.Close())
}

func (d *door) serve() {
	for {
		step, err := d.listener.Accept()
		if err != nil {
			return
		}
		go d.join(step)
	}
}

// join connects one connection of the step with the proxy until both ends have
// said all that they had to say.
func (d *door) join(step net.Conn) {
	defer d.forget(step)
	if !d.keep(step) {
		return
	}
	var proxy net.Conn
	err := within(d.namespace, func() (err error) {
		proxy, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp4", d.proxy)
		return err
	})
	if err != nil {
		return
	}
	defer d.forget(proxy)
	if !d.keep(proxy) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { hand(proxy, step) })
	both.Go(func() { hand(step, proxy) })
	both.Wait()
}

// hand hands on what comes, and that nothing more will.
func hand(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if c, ok := to.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// keep notes a connection that is to end with the network, and reports false
// where that has ended.
func (d *door) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *door) forget(c net.Conn) {
	d.mu.Lock()
	delete(d.conns, c)
	d.mu.Unlock()
	_ = c.Close()
}

// within calls f on a thread that is in a network namespace, and that nobody
// else ever gets to see.
func within(namespace string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the function
		done <- func() error {
			fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}
