// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	sourcepolicy "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/egress"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/mask"
)

// recorder is the client's half of a recorded network. The engine asks it
// before each request of the step, and afterwards states in a provenance
// statement, which comes among the outputs under a name that no step can guess,
// what was fetched. A run of which not all is known is an error.
type recorder struct {
	rules  egress.Rules
	masks  mask.Record // of what a lock's URLs do not say
	prefix string

	mu        sync.Mutex
	asked     map[string]int // URLs that were let through, and how often
	refused   []executor.Refused
	statement []byte          // nil before it came
	reported  []egress.Answer // of a step that failed, by the embedded engine
}

// newRecorder returns nil for a job with another network.
func newRecorder(job executor.Job) (*recorder, error) {
	if job.Network != pipeline.NetworkRecorded {
		return nil, nil //nolint:nilnil // documented
	}
	r := &recorder{
		rules:  egress.Rules{Allow: job.NetworkAllow},
		prefix: ".attest-" + identity.NewID() + "-",
		asked:  map[string]int{},
	}
	if job.Locked == nil {
		return r, nil
	}
	r.rules.OnlyLocked, r.rules.Locked = true, job.Locked.URLs
	var values [][]byte
	for _, s := range job.Secrets {
		values = append(values, s.Value.Reveal())
	}
	secrets, err := mask.New(values...)
	r.masks = mask.Record{Secrets: secrets, Passed: job.Locked.Passed}
	return r, err
}

// configure makes a solve record.
func (r *recorder) configure(o *client.SolveOpt) {
	o.ProxyNetwork = true
	o.SourcePolicyProvider = policysession.NewPolicyProvider(r.check)
	o.FrontendAttrs = map[string]string{"attest:provenance": "mode=min,version=v1"}
	o.Exports[0].Attrs = map[string]string{"attestation-prefix": r.prefix}
}

// check answers the engine, which asks about everything that it is going to
// fetch: the image and the inputs as well, of which the step has no say.
func (r *recorder) check(_ context.Context, req *policysession.CheckPolicyRequest) (*policysession.DecisionResponse, *gateway.ResolveSourceMetaRequest, error) {
	id := req.GetSource().GetSource().GetIdentifier()
	for _, ours := range []string{"docker-image://", "oci-layout://", "local://"} {
		if strings.HasPrefix(id, ours) {
			return &policysession.DecisionResponse{Action: sourcepolicy.PolicyAction_ALLOW}, nil, nil
		}
	}
	err := r.rules.Check(id, r.masks.Name(egress.Plain(id)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.asked[egress.Plain(id)]++
		return &policysession.DecisionResponse{Action: sourcepolicy.PolicyAction_ALLOW}, nil, nil
	}
	no := executor.Refused{URL: egress.Plain(id), Why: err.Error()}
	no.NotLocked = errors.As(err, new(*egress.NotLockedError))
	if host := (*egress.NotAllowedError)(nil); errors.As(err, &host) {
		no.NotAllowed = host.Host
	}
	if !slices.Contains(r.refused, no) {
		r.refused = append(r.refused, no)
	}
	return &policysession.DecisionResponse{Action: sourcepolicy.PolicyAction_DENY}, nil, nil
}

// refusals returns what was not let through.
func (r *recorder) refusals() []executor.Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

// hear takes what the engine says of a step that failed.
func (r *recorder) hear(status string) {
	if r == nil {
		return
	}
	if answers, ok := egress.ParseReport(status); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reported = append(r.reported, answers...)
	}
}

// attempts returns what is known of the requests of a step that did not succeed:
// what came of them by the engine, and of the rest that they were let through.
func (r *recorder) attempts() (fetched []executor.Fetch, unrecorded []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]bool{}
	for _, a := range r.reported {
		known[a.URL] = true
		if sum, err := digest.Parse("sha256:" + a.SHA256); err == nil {
			fetched = append(fetched, executor.Fetch{URL: a.URL, SHA256: sum})
		} else {
			unrecorded = append(unrecorded, incomplete{a.Method, a.URL, a.Reason}.String())
		}
	}
	for url := range r.asked {
		if !known[url] {
			unrecorded = append(unrecorded, incomplete{"GET", url, "what came of it is not known"}.String())
		}
	}
	slices.SortFunc(fetched, func(a, b executor.Fetch) int { return strings.Compare(a.URL, b.URL) })
	slices.Sort(unrecorded)
	return fetched, slices.Compact(unrecorded)
}

// maxStatement is more than a statement of a hundred thousand fetches is long.
const maxStatement = 64 << 20

// take reads the statement where name is its name in the archive of outputs.
func (r *recorder) take(name string, content io.Reader) (taken bool, err error) {
	if r == nil || !strings.HasPrefix(name, r.prefix) {
		return false, nil
	}
	text, err := io.ReadAll(io.LimitReader(content, maxStatement+1))
	if err == nil && len(text) > maxStatement {
		err = fmt.Errorf("the engine's statement is larger than %d bytes", maxStatement)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statement = text
	return true, err
}

// statement is the part of BuildKit's provenance that says what was fetched.
type statement struct {
	Predicate struct {
		BuildDefinition struct {
			ResolvedDependencies []struct {
				URI    string            `json:"uri"`
				Digest map[string]string `json:"digest"`
			} `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Metadata struct {
				BuildKit struct {
					Network struct {
						Mode  string `json:"mode"`
						Proxy struct {
							Incomplete []incomplete `json:"incomplete"`
						} `json:"proxy"`
					} `json:"network"`
				} `json:"buildkit_metadata"`
			} `json:"metadata"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// incomplete is a request whose answer is not recorded.
type incomplete struct {
	Method string `json:"method"`
	URI    string `json:"uri"`
	Reason string `json:"reason"`
}

// String says it in words.
func (i incomplete) String() string {
	why, ok := map[string]string{
		"method_not_materializable": "only GET can be recorded",
		"partial_response":          "a part of a file says nothing of the whole",
		"response_transformed":      "the answer was not handed on as it came",
		"body_read_failed":          "the answer broke off",
		"unsuccessful_response":     "the server did not have it",
		"upstream_error":            "the server could not be asked",
		"unfinished":                "the step ended before the answer did",
		"redirect_not_followed":     "the step used a redirection and did not follow it",
		"content_changed":           "it was asked for more than once, with different answers",
	}[i.Reason]
	if !ok {
		why = i.Reason
	}
	return i.Method + " " + egress.Plain(i.URI) + ": " + why
}

// fetched returns what the engine states of a step that succeeded, ordered, and
// the requests that no record has the answer of: where there is one, it is an
// error. embedded says that the engine is ours, which does not pass over a second
// content of one URL.
func (r *recorder) fetched(embedded bool) (all []executor.Fetch, unrecorded []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.statement == nil {
		return nil, nil, errors.New("this BuildKit does not say what the step fetched")
	}
	var s statement
	if err := json.Unmarshal(r.statement, &s); err != nil {
		return nil, nil, fmt.Errorf("reading what the step fetched: %w", err)
	}
	network := s.Predicate.RunDetails.Metadata.BuildKit.Network
	if network.Mode != "proxy" {
		return nil, nil, errors.New("this BuildKit did not record the step's network")
	}
	known := map[string]bool{}
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if !strings.HasPrefix(d.URI, "http://") && !strings.HasPrefix(d.URI, "https://") {
			continue // the image
		}
		sum, err := digest.Parse("sha256:" + d.Digest["sha256"])
		if err != nil {
			return nil, nil, fmt.Errorf("reading what the step fetched from %s: %w", egress.Plain(d.URI), err)
		}
		known[egress.Plain(d.URI)] = true
		all = append(all, executor.Fetch{URL: egress.Plain(d.URI), SHA256: sum})
	}
	slices.SortFunc(all, func(a, b executor.Fetch) int { return strings.Compare(a.URL, b.URL) })
	for _, in := range network.Proxy.Incomplete {
		known[egress.Plain(in.URI)] = true
		unrecorded = append(unrecorded, in.String())
	}
	unrecorded = append(unrecorded, r.open(known, embedded)...)
	slices.Sort(unrecorded)
	unrecorded = slices.Compact(unrecorded)
	return all, unrecorded, notRecorded(unrecorded)
}

// open compares what is stated with what was let through.
func (r *recorder) open(known map[string]bool, embedded bool) []string {
	var open []string
	for url, times := range r.asked {
		switch {
		case !known[url]:
			open = append(open, incomplete{"GET", url, "unfinished"}.String())
		case times > 1 && !embedded:
			open = append(open, incomplete{"GET", url, "it was asked for more than once, and this BuildKit states one answer"}.String())
		}
	}
	return open
}

// notRecorded is the error of a step that reached something unrecorded.
func notRecorded(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	hints := slices.Clone(lines[1:])
	const most = 9
	if more := len(hints) - most; more > 0 {
		hints = append(hints[:most], fmt.Sprintf("and %d more", more))
	}
	return &executor.HintedError{
		Err:   fmt.Errorf("the step's network was not recorded as a whole: %s", lines[0]),
		Hints: append(hints, "a recorded step gets whole files by GET and nothing else; what it got otherwise is in no receipt"),
	}
}
