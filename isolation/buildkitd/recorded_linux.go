// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/network/proxyprovider"
	"github.com/moby/buildkit/util/progress"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	rules "github.com/attest-pipeline/attest/isolation/egress"
)

// recordedNetworks makes the networks of steps whose network is recorded: a
// namespace from which nothing can be reached but BuildKit's proxy, which
// fetches on the step's behalf by our egress. Nothing is made before the first
// such step: the proxy's authority is a key that takes long to make. Safe for
// concurrent use.
type recordedNetworks struct {
	root string // where the namespaces are kept

	mu      sync.Mutex
	proxies network.ProxyProvider // nil before it is needed
}

var _ network.ProxyProvider = (*recordedNetworks)(nil)

// NewProxy implements [network.ProxyProvider].
func (r *recordedNetworks) NewProxy(ctx context.Context, c *network.ProxyConfig) (network.ProxyNamespace, error) {
	proxies, err := r.provider()
	if err != nil {
		return nil, fmt.Errorf("preparing recorded networks: %w", err)
	}
	ns, err := proxies.NewProxy(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("making a recorded network, which takes network namespaces and veth interfaces of the kernel: %w", err)
	}
	d, err := openDoor(ns)
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return d, nil
}

func (r *recordedNetworks) provider() (network.ProxyProvider, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxies != nil {
		return r.proxies, nil
	}
	var err error
	r.proxies, err = proxyprovider.New(proxyprovider.Opt{
		Root:            r.root,
		EgressProviders: map[pb.NetMode]network.Provider{pb.NetMode_UNSET: egress{stall: stallTimeout}},
	})
	return r.proxies, err
}

// Close removes what was made.
func (r *recordedNetworks) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxies == nil {
		return nil
	}
	return r.proxies.Close()
}

// network makes the network that a process asks for.
func (s *steps) network(ctx context.Context, meta executor.Meta) (network.Namespace, error) {
	if meta.Proxy != nil {
		return s.recorded.NewProxy(ctx, meta.Proxy)
	}
	provider, ok := s.networks[meta.NetMode]
	if !ok {
		return nil, fmt.Errorf("unknown network mode %s", meta.NetMode)
	}
	namespace, err := provider.New(ctx, meta.Hostname, network.NamespaceOptions{})
	if err != nil {
		return nil, fmt.Errorf("making the network: %w", err)
	}
	return namespace, nil
}

// runRecorded is run for a step whose network is recorded. What BuildKit is
// told of the step's requests is either all of them, or that something is
// missing. Of a step that failed BuildKit tells nobody; then the progress does.
func (s *steps) runRecorded(ctx context.Context, st step) error {
	meta := &st.process.Meta
	asked := meta.Proxy
	log := newFetchLog(asked.Policy)
	meta.Proxy = &network.ProxyConfig{Policy: log, Capture: log.capture, EgressMode: meta.NetMode}
	err := s.run(ctx, st)
	log.handOver(asked.Capture)
	if err != nil {
		for _, report := range rules.Reports(answers(asked.Capture)) {
			_ = progress.OneOff(ctx, report)(nil)
		}
	}
	return err
}

// answers is all that is known of a step's requests.
func answers(c *network.ProxyCapture) []rules.Answer {
	var all []rules.Answer
	for _, m := range c.Materials() {
		all = append(all, rules.Answer{Method: http.MethodGet, URL: rules.Plain(m.URL), SHA256: m.Digest.Encoded()})
	}
	for _, in := range c.Incomplete() {
		all = append(all, rules.Answer{Method: in.Method, URL: rules.Plain(in.URL), Reason: in.Reason})
	}
	return all
}

// furnish gives a container with a recorded network what it reaches the proxy
// by: its address, and trust in the certificates by which it stands in for
// servers. Other networks need nothing.
func furnish(spec *specs.Spec, namespace network.Namespace, b bundle) error {
	proxy, ok := namespace.(network.ProxyNamespace)
	if !ok {
		return nil
	}
	spec.Process.Env = executor.ReplaceEnv(spec.Process.Env, proxy.ProxyEnv())
	if err := trustProxy(spec, proxy.ProxyCACert(), b.dir, b.rootfs()); err != nil {
		return fmt.Errorf("making the step trust the proxy: %w", err)
	}
	return nil
}
