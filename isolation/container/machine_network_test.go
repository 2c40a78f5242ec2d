// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
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

// TestMachineOpen: an open network reaches from within a machine what this host
// reaches, names included.
func TestMachineOpen(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	serveNames(t)
	url := site(t, buildkitdtest.Address, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "content") })
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, "mkdir out; wget -q -O out/file "+url+"/file; cat /etc/resolv.conf; nslookup host.example >out/names", "out")
	j.Network, j.Staging = pipeline.NetworkOpen, t.TempDir()
	var printed strings.Builder
	got, err := startMachines(t).Run(t.Context(), j, executor.Streams{Stdout: &printed, Stderr: &printed})
	if err != nil || got.ExitCode != 0 {
		t.Fatalf("exit code %d, error %v\n%s", got.ExitCode, err, &printed)
	}
	if text := read(t, filepath.Join(j.Staging, "out/file")); text != "content" {
		t.Errorf("it got %q", text)
	}
	if text := read(t, filepath.Join(j.Staging, "out/names")); !strings.Contains(text, buildkitdtest.Other) {
		t.Errorf("the name stands for\n%s", text)
	}
}

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

// serveNames makes this network have the name server that this host asks. To it
// every name stands for [buildkitdtest.Other].
func serveNames(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), "nameserver ")
	server, _, _ := strings.Cut(rest, "\n")
	if net.ParseIP(server).To4() == nil {
		t.Skipf("this host has no name server: %q", text)
	}
	if out, err := exec.Command("ip", "address", "add", server+"/32", "dev", "lo").CombinedOutput(); err != nil && !strings.HasPrefix(server, "127.") {
		t.Skipf("giving the network a name server: %v: %s", err, out)
	}
	conn, err := net.ListenPacket("udp4", server+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := answerName(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
}

// answerName answers one question of DNS (RFC 1035, 4.1).
func answerName(query []byte) []byte {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	if end += 5; end > len(query) { // the root's zero, type and class
		return nil
	}
	answer := append([]byte{}, query[:end]...)
	answer[2], answer[3] = 0x81, 0x80 // an answer, of a server that asks others
	copy(answer[4:header], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	if isA := query[end-3] == 1; isA {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		answer = append(answer, net.ParseIP(buildkitdtest.Other).To4()...)
	}
	return answer
}
