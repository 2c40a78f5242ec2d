// SPDX-License-Identifier: Apache-2.0

//go:build linux

package buildkitd

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	digest "github.com/opencontainers/go-digest"
)

// ask lets the log see that a request was let through.
func ask(t *testing.T, l *fetchLog, urls ...string) {
	t.Helper()
	for _, u := range urls {
		op := &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: u}}}
		if _, err := l.Evaluate(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
}

func handedOver(l *fetchLog) (materials, incomplete []string) {
	to := network.NewProxyCapture()
	l.handOver(to)
	for _, m := range to.Materials() {
		materials = append(materials, m.URL+" "+string(m.Digest))
	}
	for _, in := range to.Incomplete() {
		incomplete = append(incomplete, in.URL+" "+in.Reason)
	}
	slices.Sort(materials)
	slices.Sort(incomplete)
	return materials, incomplete
}

func TestFetchLog(t *testing.T) {
	got := func(url string, status int, to string) network.ProxyRequest {
		return network.ProxyRequest{Method: "GET", URL: url, StatusCode: status, RedirectTarget: to}
	}
	one, two := digest.FromString("1"), digest.FromString("2")
	for _, test := range []struct {
		name       string
		asked      []string
		requests   []network.ProxyRequest
		materials  []network.ProxyMaterial
		want       []string
		incomplete []string
	}{
		{"nothing", nil, nil, nil, nil, nil},
		{"a file", []string{"http://a:80/"}, []network.ProxyRequest{got("http://a/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://a/", Digest: one}}, []string{"http://a/ " + one.String()}, nil},
		{"no answer yet", []string{"http://a/"}, nil, nil, nil, []string{"http://a/ unfinished"}},
		{"an answer under way", []string{"http://a/"}, []network.ProxyRequest{got("http://a/", 200, "")}, nil,
			nil, []string{"http://a/ unfinished"}},
		{"the second answer under way", []string{"http://a/", "http://a/"},
			[]network.ProxyRequest{got("http://a/", 200, ""), got("http://a/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://a/", Digest: one}},
			[]string{"http://a/ " + one.String()}, []string{"http://a/ unfinished"}},
		{"two contents", []string{"http://a/", "http://a/"},
			[]network.ProxyRequest{got("http://a/", 200, ""), got("http://a/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://a/", Digest: one}, {URL: "http://a/", Digest: two}},
			[]string{"http://a/ " + one.String()}, []string{"http://a/ content_changed"}},
		{"a redirection", []string{"http://a/", "http://b/"},
			[]network.ProxyRequest{got("http://a/", 302, "http://b/"), got("http://b/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://b/", Digest: one}},
			[]string{"http://a/ " + one.String(), "http://b/ " + one.String()}, nil},
		{"a redirection to nowhere", []string{"http://a/"}, []network.ProxyRequest{got("http://a/", 302, "http://b/")}, nil,
			nil, []string{"http://a/ redirect_not_followed"}},
		{"two redirections of one URL", []string{"http://a/", "http://a/", "http://b/", "http://c/"},
			[]network.ProxyRequest{got("http://a/", 302, "http://b/"), got("http://a/", 302, "http://c/"), got("http://b/", 200, ""), got("http://c/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://b/", Digest: one}, {URL: "http://c/", Digest: two}},
			[]string{"http://a/ " + two.String(), "http://b/ " + one.String(), "http://c/ " + two.String()},
			[]string{"http://a/ content_changed"}},
		{"a redirection, then something else", []string{"http://a/", "http://b/", "http://a/"},
			[]network.ProxyRequest{got("http://a/", 302, "http://b/"), got("http://b/", 200, ""), got("http://a/", 200, "")},
			[]network.ProxyMaterial{{URL: "http://b/", Digest: one}, {URL: "http://a/", Digest: two}},
			[]string{"http://a/ " + two.String(), "http://b/ " + one.String()}, []string{"http://a/ content_changed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newFetchLog(nil)
			ask(t, l, test.asked...)
			for _, r := range test.requests {
				l.capture.AddRequest(r)
			}
			for _, m := range test.materials {
				l.capture.AddMaterial(m)
			}
			materials, incomplete := handedOver(l)
			if diff := cmp.Diff(test.want, materials); diff != "" {
				t.Errorf("materials (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.incomplete, incomplete); diff != "" {
				t.Errorf("incomplete (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that does not have a file is why nothing came, also where the step did
// not listen to the end of the answer.
func TestFetchLogDeclined(t *testing.T) {
	l := newFetchLog(nil)
	ask(t, l, "http://a/", "http://b/", "http://b/", "http://c/")
	for url, status := range map[string][]int{"http://a/": {404, 404}, "http://b/": {404, 200}, "http://c/": {200}} {
		for _, s := range status {
			l.capture.AddRequest(network.ProxyRequest{Method: "GET", URL: url, StatusCode: s})
			l.capture.AddIncomplete(network.ProxyIncomplete{Method: "GET", URL: url, Reason: "body_read_failed"})
		}
	}
	_, incomplete := handedOver(l)
	want := []string{"http://a/ unsuccessful_response", "http://a/ unsuccessful_response",
		"http://b/ body_read_failed", "http://b/ body_read_failed", "http://c/ body_read_failed"}
	if diff := cmp.Diff(want, incomplete); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

type refuse struct{}

func (refuse) Evaluate(context.Context, *pb.Op) (bool, error) { return false, errors.New("no") }

// What is refused never left, so nothing of it is missing.
func TestFetchLogRefused(t *testing.T) {
	l := newFetchLog(refuse{})
	op := &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: "http://a/"}}}
	if _, err := l.Evaluate(t.Context(), op); err == nil {
		t.Fatal("the policy was not asked")
	}
	if materials, incomplete := handedOver(l); len(materials)+len(incomplete) > 0 {
		t.Errorf("got %q, %q", materials, incomplete)
	}
}
