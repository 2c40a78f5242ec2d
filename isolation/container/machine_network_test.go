// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// TestMachineRecorded: from within a machine a recorded network is as from within a
// container. It reaches the proxy, whose certificate it has, and nothing else.
func TestMachineRecorded(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	here := site(t, buildkitdtest.Address, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "content of "+r.URL.Path) })
	var other strings.Builder
	elsewhere := site(t, buildkitdtest.Other, func(_ http.ResponseWriter, r *http.Request) { fmt.Fprintln(&other, r.URL) })
	loopback := site(t, "127.0.0.1", func(_ http.ResponseWriter, r *http.Request) { fmt.Fprintln(&other, r.URL) })
	e := startMachines(t)
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, strings.NewReplacer(
		"HERE", here, "ELSEWHERE", elsewhere, "PORT", loopback[strings.LastIndex(loopback, ":")+1:]).Replace(`
		mkdir out
		wget -q -O out/file HERE/file
		set +e
		wget -q -O - ELSEWHERE/file
		for way in "wget -q -T 2 -O - HERE/direct" "wget -q -T 2 -O - ELSEWHERE/direct" "wget -q -T 2 -O - http://10.0.2.2:PORT/direct" "nc -w 2 10.0.2.2 PORT"; do
			env -u HTTP_PROXY -u http_proxy $way </dev/null && echo "$way" >>out/reached
		done
		grep -c BEGIN "$SSL_CERT_FILE" >out/certificates
		env | grep -i -e '^http_proxy=' -e '^no_proxy=' | sort >out/env
		cat /etc/resolv.conf >out/servers
		touch out/reached`), "out")
	j.Network, j.NetworkAllow = pipeline.NetworkRecorded, []string{buildkitdtest.Address}
	j.Staging = t.TempDir()
	var printed strings.Builder
	got, err := e.Run(t.Context(), j, executor.Streams{Stdout: &printed, Stderr: &printed})
	if err != nil || got.ExitCode != 0 {
		t.Fatalf("exit code %d, error %v\n%s", got.ExitCode, err, &printed)
	}
	see := func(name string) string { return read(t, filepath.Join(j.Staging, "out", name)) }
	if see("file") != "content of /file" {
		t.Errorf("it got %q", see("file"))
	}
	if see("reached") != "" || other.Len() > 0 {
		t.Errorf("it reached, by\n%s\n%s", see("reached"), &other)
	}
	if see("certificates") != "1\n" || see("servers") != "" {
		t.Errorf("%q certificates, name servers %q", see("certificates"), see("servers"))
	}
	if env := see("env"); strings.Count(env, "=http://10.0.2.2:3128\n") != 2 || strings.Count(env, "=127.0.0.1,localhost,::1\n") != 2 {
		t.Errorf("the environment has %q", env)
	}
	want := []executor.Fetch{{URL: here + "/file", SHA256: digest.OfSHA256([]byte("content of /file"))}}
	if diff := cmp.Diff(want, got.Fetched, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
	if len(got.Refused) != 1 || got.Refused[0].URL != elsewhere+"/file" {
		t.Errorf("refused: %v", got.Refused)
	}
	if !slices.Contains(got.Controls, "network-recorded") || !slices.Contains(got.Controls, "virtual-machine") {
		t.Errorf("controls %q", got.Controls)
	}
}
