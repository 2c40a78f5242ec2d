// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	digest "github.com/opencontainers/go-digest"

	rules "github.com/attest-pipeline/attest/isolation/egress"
)

// Why a request is not recorded, besides the reasons that BuildKit has.
const (
	reasonUnfinished = "unfinished"            // the step ended before the answer did
	reasonRedirect   = "redirect_not_followed" // the step got a redirection, and that is all
	reasonChanged    = "content_changed"       // the same URL, and two contents
)

// Reasons that BuildKit has.
const (
	reasonBrokenOff    = "body_read_failed"
	reasonUnsuccessful = "unsuccessful_response"
)

// settleTime is how long an answer that the step has had may take to be noted.
const settleTime = time.Second

// fetchLog is what one step asked its proxy for. BuildKit's own log leaves out
// requests whose answer nobody waited for and the contents of redirections, and
// keeps one of several contents of a URL; here each request that was let
// through must have become a material, or the log says that it is incomplete.
type fetchLog struct {
	capture *network.ProxyCapture
	policy  network.ProxyPolicy // nil allows everything

	mu      sync.Mutex
	allowed map[string]int // requests that were let through, by URL
}

func newFetchLog(policy network.ProxyPolicy) *fetchLog {
	return &fetchLog{capture: network.NewProxyCapture(), policy: policy, allowed: map[string]int{}}
}

var _ network.ProxyPolicy = (*fetchLog)(nil)

// Evaluate implements [network.ProxyPolicy]: it asks the policy and counts.
func (l *fetchLog) Evaluate(ctx context.Context, op *pb.Op) (changed bool, err error) {
	if l.policy != nil {
		if changed, err = l.policy.Evaluate(ctx, op); err != nil {
			return changed, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed[rules.Plain(op.GetSource().GetIdentifier())]++
	return changed, nil
}

// handOver passes the log on when the step has ended.
func (l *fetchLog) handOver(to *network.ProxyCapture) {
	for end := time.Now().Add(settleTime); len(l.unfinished()) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	missing := func(url, why string) {
		to.AddIncomplete(network.ProxyIncomplete{Method: http.MethodGet, URL: url, Reason: why})
	}
	declined := l.declined()
	for _, in := range l.capture.Incomplete() {
		if in.Reason == reasonBrokenOff && declined[in.URL] {
			in.Reason = reasonUnsuccessful // a step need not listen to the end
		}
		to.AddIncomplete(in)
	}
	for _, u := range l.unfinished() {
		missing(u, reasonUnfinished)
	}
	digests := map[string]digest.Digest{}
	for _, m := range l.capture.Materials() {
		switch seen, ok := digests[m.URL]; {
		case !ok:
			digests[m.URL] = m.Digest
			to.AddMaterial(m)
		case seen != m.Digest:
			missing(m.URL, reasonChanged)
		}
	}
	targets := map[string]string{}
	for _, r := range l.capture.Requests() {
		if r.Method != http.MethodGet || r.StatusCode >= 400 {
			continue // never complete
		}
		if target, ok := targets[r.URL]; ok && target != r.RedirectTarget {
			missing(r.URL, reasonChanged)
		}
		targets[r.URL] = r.RedirectTarget
		if _, ok := digests[r.URL]; redirected(r) && !ok {
			missing(r.URL, reasonRedirect)
		}
	}
}

// declined has the URLs of which the server had nothing to give, however often it
// was asked.
func (l *fetchLog) declined() map[string]bool {
	declined := map[string]bool{}
	for _, r := range l.capture.Requests() {
		before, again := declined[r.URL]
		declined[r.URL] = r.StatusCode >= 400 && (before || !again)
	}
	return declined
}

func redirected(r network.ProxyRequest) bool {
	return r.Method == http.MethodGet && r.StatusCode < 400 && (r.StatusCode < 200 || r.StatusCode >= 300)
}

// unfinished lists the URLs with requests that were let through and of which
// it is not known what came of them.
func (l *fetchLog) unfinished() []string {
	known, bodies := map[string]int{}, map[string]int{}
	for _, in := range l.capture.Incomplete() {
		known[in.URL]++
	}
	for _, r := range l.capture.Requests() {
		if redirected(r) {
			known[r.URL]++
		} else {
			bodies[r.URL]++
		}
	}
	for _, m := range l.capture.Materials() {
		if bodies[m.URL] > 0 { // else it is derived from a redirection
			known[m.URL]++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []string
	for u, n := range l.allowed {
		if known[u] < n {
			open = append(open, u)
		}
	}
	return open
}
