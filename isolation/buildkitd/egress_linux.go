// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	rules "github.com/attest-pipeline/attest/isolation/egress"
)

// How long the other end of a fetch may do nothing.
const (
	dialTimeout  = 30 * time.Second
	stallTimeout = time.Minute
)

var errStepEnded = errors.New("the step has ended")

// egress is the way of recorded networks to the world: the network of this
// host, less what a name on an allow-list must not lead to. The allow-list
// itself is checked before, by whoever runs the step; this is where names have
// become addresses.
type egress struct{ stall time.Duration }

var _ network.Provider = egress{}

// New implements [network.Provider].
func (e egress) New(context.Context, string, network.NamespaceOptions) (network.Namespace, error) {
	return &egressNamespace{stall: e.stall, ended: make(chan struct{}), conns: map[net.Conn]struct{}{}}, nil
}

// Close implements [network.Provider].
func (egress) Close() error { return nil }

// egressNamespace is the egress of one step. It is a namespace only to
// BuildKit's eyes; no process ever enters it. Closing it ends every connection,
// also one whose server has long said nothing.
type egressNamespace struct {
	stall time.Duration
	ended chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

var _ network.Dialer = (*egressNamespace)(nil)

// DialContext connects. Whatever the proxy does it for, the step's end ends it.
func (n *egressNamespace) DialContext(ctx context.Context, kind, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-n.ended:
			cancel(errStepEnded)
		case <-ctx.Done():
		}
	}()
	dialer := net.Dialer{Timeout: dialTimeout, Control: func(_, to string, _ syscall.RawConn) error { return rules.Reachable(host, to) }}
	conn, err := dialer.DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	return n.add(conn)
}

func (n *egressNamespace) add(conn net.Conn) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.ended:
		return nil, errors.Join(errStepEnded, conn.Close())
	default:
	}
	n.conns[conn] = struct{}{}
	return &egressConn{Conn: conn, from: n}, nil
}

// Close ends what is under way.
func (n *egressNamespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.ended:
		return nil
	default:
		close(n.ended)
	}
	for conn := range n.conns {
		_ = conn.Close()
	}
	return nil
}

// Set implements [network.Namespace]; nobody asks for it.
func (n *egressNamespace) Set(*specs.Spec) error {
	return errors.New("the way out of a recorded network is no place for a container")
}

// Sample implements [network.Namespace].
func (n *egressNamespace) Sample() (*resourcestypes.NetworkSample, error) { return nil, nil }

// egressConn gives up on a server that does nothing for too long.
type egressConn struct {
	net.Conn
	from *egressNamespace
}

func (c *egressConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.from.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *egressConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.from.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *egressConn) Close() error {
	c.from.mu.Lock()
	delete(c.from.conns, c.Conn)
	c.from.mu.Unlock()
	return c.Conn.Close()
}
