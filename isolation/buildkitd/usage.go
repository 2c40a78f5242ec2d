// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// solveMethod is the call that runs steps; it lasts as long as they do.
const solveMethod = "/moby.buildkit.v1.Control/Solve"

// usage counts who uses the engine, and ends an engine that nobody uses.
type usage struct {
	idle time.Duration // 0 means never

	mu          sync.Mutex
	connections int
	solves      int
	ending      bool
	timer       *time.Timer   // nil without idle
	changed     chan struct{} // closed and replaced when a solve ends
}

func newUsage(idle time.Duration, onIdle func()) *usage {
	u := &usage{idle: max(idle, 0), changed: make(chan struct{})}
	if u.idle > 0 {
		u.timer = time.AfterFunc(u.idle, func() {
			if u.endIfIdle() {
				onIdle()
			}
		})
	}
	return u
}

// endIfIdle decides, in one step with whoever may be asking for the status
// now, that the engine ends. From then on no asker is told that it runs.
func (u *usage) endIfIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.connections > 0 || u.ending {
		return false
	}
	u.ending = true
	return true
}

// status answers an asker, who is about to connect: the wait for somebody to
// do so starts anew.
func (u *usage) status(about launch.Status) (launch.Status, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ending {
		return launch.Status{}, false
	}
	u.rest()
	about.Connections, about.Solves = u.connections, u.solves
	about.IdleSecs = int(u.idle / time.Second)
	return about, true
}

// rest restarts the wait for a client. The caller holds the lock.
func (u *usage) rest() {
	if u.timer != nil && u.connections == 0 && !u.ending {
		u.timer.Reset(u.idle)
	}
}

func (u *usage) connect(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.connections += n
	u.rest()
}

func (u *usage) solve(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.solves += n
	if n < 0 {
		close(u.changed)
		u.changed = make(chan struct{})
	}
}

func (u *usage) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

// drained waits until no solve runs, and reports whether that came about.
func (u *usage) drained(limit time.Duration) bool {
	deadline := time.After(limit)
	for {
		u.mu.Lock()
		n, changed := u.solves, u.changed
		u.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}

// unary counts solves.
func (u *usage) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if info.FullMethod == solveMethod {
		u.solve(1)
		defer u.solve(-1)
	}
	return next(ctx, req)
}

// listener counts the connections of l.
func (u *usage) listener(l net.Listener) net.Listener { return countingListener{l, u} }

type countingListener struct {
	net.Listener
	use *usage
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.use.connect(1)
	return &countingConn{Conn: c, use: l.use}, nil
}

type countingConn struct {
	net.Conn
	use  *usage
	once sync.Once
}

func (c *countingConn) Close() error {
	c.once.Do(func() { c.use.connect(-1) })
	return c.Conn.Close()
}
