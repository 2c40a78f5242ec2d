// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// site is a server at an address of the test's own network.
func site(t *testing.T, address string, handler http.HandlerFunc) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// TestRecorded: what a recorded step got is in the outcome, what it was not to
// ask for never arrives anywhere, and what cannot be recorded fails it.
func TestRecorded(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	var reached []string
	other := site(t, buildkitdtest.Other, func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.Path)
		io.WriteString(w, "other")
	})
	count := 0
	here := site(t, buildkitdtest.Address, func(w http.ResponseWriter, r *http.Request) {
		switch count++; r.URL.Path {
		case "/away":
			http.Redirect(w, r, other+"/file", http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/file", http.StatusFound)
		case "/changing":
			fmt.Fprint(w, count)
		case "/missing":
			http.NotFound(w, r)
		case "/waits":
			<-r.Context().Done()
		default:
			io.WriteString(w, "content")
		}
	})
	content, notListed := digest.OfSHA256([]byte("content")), "refused: "+buildkitdtest.Other+" is not on the step's allow-list"
	e, img := start(t, ""), imagetest.Busybox(t)
	for _, test := range []struct {
		name, script string
		locked       *executor.Locked
		exit         int
		fetched      []executor.Fetch
		unrecorded   []string // how each begins
		refused      []executor.Refused
		err          string
		timeout      time.Duration
	}{
		{name: "a file", script: "wget -q -O out URL/file", fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}}},
		{name: "nothing", script: "echo content > out"},
		{name: "a redirection", script: "wget -q -O out URL/moved",
			fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}, {URL: "URL/moved", SHA256: content}}},
		{name: "another host", script: "wget -q -O out OTHER/file", exit: 1,
			refused: []executor.Refused{{URL: "OTHER/file", Why: notListed, NotAllowed: buildkitdtest.Other}}},
		{name: "another host, and never mind", script: "wget -q -O - OTHER/file || wget -q -O - OTHER/file || touch out",
			refused: []executor.Refused{{URL: "OTHER/file", Why: notListed, NotAllowed: buildkitdtest.Other}}},
		{name: "a redirection to another host", script: "wget -q -O out URL/away", exit: 1,
			unrecorded: []string{"GET URL/away: the step used a redirection and did not follow it"},
			refused:    []executor.Refused{{URL: "OTHER/file", Why: notListed, NotAllowed: buildkitdtest.Other}}},
		{name: "a file that is not there", script: "wget -q -O - URL/file; wget -q -O out URL/missing", exit: 1,
			fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}}, unrecorded: []string{"GET URL/missing: the server did not have it"}},
		{name: "a step that fails for another reason", script: "wget -q -O out URL/file; exit 7", exit: 7,
			fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}}},
		{name: "an answer that takes too long", script: "wget -q -O - URL/file; wget -q -O out URL/waits", timeout: 2 * time.Second, exit: executor.ExitTimeout,
			fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}}, unrecorded: []string{"GET URL/waits: "}},
		{name: "another method", script: `p=${HTTP_PROXY#http://}
			printf 'POST URL/file HTTP/1.0\r\nContent-Length: 1\r\n\r\nx' | nc ${p%:*} ${p#*:} > out`,
			unrecorded: []string{"POST URL/file: only GET can be recorded"}, err: "POST URL/file: only GET can be recorded"},
		{name: "a redirection to another host, and never mind", script: "wget -q -O - URL/away || touch out",
			err: "GET URL/away: the step used a redirection and did not follow it"},
		{name: "two contents", script: "wget -q -O - URL/changing; wget -q -O out URL/changing",
			err: "GET URL/changing: it was asked for more than once, with different answers"},
		{name: "the proxy's certificate", script: "cp /dev/attest-proxy-ca.crt out",
			err: "certificate of the recorded network's proxy"},
		{name: "the proxy's certificate, hidden a little", script: "(head -c 70000 /dev/zero; sed 's/^/  /' /dev/attest-proxy-ca.crt) > out",
			err: "certificate of the recorded network's proxy"},
		{name: "a locked file", script: "wget -q -O out URL/file", locked: &executor.Locked{URLs: []string{"URL/file"}},
			fetched: []executor.Fetch{{URL: "URL/file", SHA256: content}}},
		{name: "a locked file by a secret", script: "wget -q -O out URL/$TOKEN/passed/file?x=$TOKEN",
			locked:  &executor.Locked{URLs: []string{"URL/***/***/file"}, Passed: []string{"passed"}},
			fetched: []executor.Fetch{{URL: "URL/hunter2/passed/file?x=hunter2", SHA256: content}}},
		{name: "a file that is not locked, by a secret", script: "wget -q -O out URL/$TOKEN/other", exit: 1,
			locked:  &executor.Locked{URLs: []string{"URL/***/file"}},
			refused: []executor.Refused{{URL: "URL/hunter2/other", Why: "refused: attest.lock does not have URL/***/other", NotLocked: true}}},
		{name: "a file that is not locked", script: "wget -q -O out URL/file", locked: &executor.Locked{}, exit: 1,
			refused: []executor.Refused{{URL: "URL/file", Why: "refused: attest.lock does not have URL/file", NotLocked: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			concrete := strings.NewReplacer("URL", here, "OTHER", other)
			j := job(img, t.TempDir(), tree.Tree{}, concrete.Replace(test.script), "out")
			j.Secrets = []executor.Secret{{Name: "TOKEN", Value: executor.NewSecretValue([]byte("hunter2"))}}
			j.Staging, j.Timeout = t.TempDir(), test.timeout
			j.Network, j.NetworkAllow, j.Locked = pipeline.NetworkRecorded, []string{buildkitdtest.Address}, test.locked
			if j.Locked != nil {
				for i, u := range j.Locked.URLs {
					j.Locked.URLs[i] = concrete.Replace(u)
				}
			}
			var printed strings.Builder
			got, err := e.Run(t.Context(), j, executor.Streams{Stdout: &printed, Stderr: &printed})
			left, _ := os.ReadDir(j.Staging)
			if test.err != "" {
				var hinted *executor.HintedError
				if err == nil || !strings.Contains(err.Error(), concrete.Replace(test.err)) || !errors.As(err, &hinted) || len(hinted.Hints) == 0 {
					t.Errorf("got %v, want %q with a hint\n%s", err, test.err, &printed)
				}
				if len(left) > 0 {
					t.Errorf("outputs came back: %v", left)
				}
				if test.unrecorded != nil && (len(got.Unrecorded) != 1 || got.Unrecorded[0] != concrete.Replace(test.unrecorded[0])) {
					t.Errorf("with the error comes what was not recorded: %q", got.Unrecorded)
				}
				return
			}
			if err != nil || got.ExitCode != test.exit {
				t.Fatalf("exit code %d, error %v\n%s", got.ExitCode, err, &printed)
			}
			for i := range test.fetched {
				test.fetched[i].URL = concrete.Replace(test.fetched[i].URL)
			}
			for i := range test.refused {
				test.refused[i].URL, test.refused[i].Why = concrete.Replace(test.refused[i].URL), concrete.Replace(test.refused[i].Why)
			}
			if diff := cmp.Diff(test.fetched, got.Fetched, cmp.AllowUnexported(digest.Digest{})); diff != "" {
				t.Errorf("fetched (-want +got):\n%s", diff)
			}
			for i := range test.unrecorded {
				test.unrecorded[i] = concrete.Replace(test.unrecorded[i])
			}
			if !slices.EqualFunc(got.Unrecorded, test.unrecorded, strings.HasPrefix) {
				t.Errorf("unrecorded: %q, want %q", got.Unrecorded, test.unrecorded)
			}
			if diff := cmp.Diff(test.refused, got.Refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if test.exit == 0 && (len(left) != 1 || !slices.Contains(got.Controls, "network-recorded") || slices.Contains(got.Controls, "network-none")) {
				t.Errorf("it left %v, under %q", left, got.Controls)
			}
		})
	}
	if len(reached) > 0 {
		t.Errorf("a host that is not on the list was asked for %q", reached)
	}
}

// TestRecordedElsewhere: any BuildKit that is new enough will do, and of one
// that is not ours nothing is believed that it does not state.
func TestRecordedElsewhere(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	here := site(t, buildkitdtest.Address, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "content") })
	address := buildkitdtest.Start(t)
	e := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Address: address, Progress: progress})
		},
		Images: image.NewResolver("/", image.Local()),
	})
	defer e.Close()
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, "wget -q -O out "+here+"/file", "out")
	j.Network = pipeline.NetworkRecorded
	staging, got := run(t, e, j)
	if read(t, filepath.Join(staging, "out")) != "content" || len(got.Fetched) != 1 || !slices.Equal(got.Controls, []string{"network-recorded", "read-only-root"}) {
		t.Errorf("got %+v", got)
	}
	j.Command.Shell += "; " + j.Command.Shell
	j.Staging = t.TempDir()
	if _, err := e.Run(t.Context(), j, executor.Streams{}); err == nil || !strings.Contains(err.Error(), "more than once") {
		t.Errorf("the same twice: %v", err)
	}
}
