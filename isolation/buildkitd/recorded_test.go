// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	provenance "github.com/moby/buildkit/solver/llbsolver/provenance/types"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// recording is what BuildKit's provenance says of a step with a recorded network.
type recording struct {
	fetched    map[string]string // sha256 by URL
	incomplete []string          // "METHOD URL: reason"
}

// record runs a step with a recorded network and returns what it printed.
func record(t *testing.T, c *client.Client, args ...string) (recording, string, error) {
	t.Helper()
	def := stepWith(t, []llb.RunOption{llb.Network(llb.NetModeSandbox)}, append([]string{"/bin/step"}, args...)...)
	dir := t.TempDir()
	var out strings.Builder
	ch := make(chan *client.SolveStatus)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range ch {
			for _, l := range s.Logs {
				out.Write(l.Data)
			}
		}
	}()
	_, err := c.Solve(t.Context(), def, client.SolveOpt{
		ProxyNetwork:  true,
		FrontendAttrs: map[string]string{"attest:provenance": "mode=min,version=v1"},
		Exports:       []client.ExportEntry{{Type: client.ExporterLocal, OutputDir: dir}},
	}, ch)
	<-done
	r := recording{fetched: map[string]string{}}
	if err != nil {
		return r, out.String(), err
	}
	text, err := os.ReadFile(filepath.Join(dir, "provenance.json"))
	if err != nil {
		t.Fatal(err)
	}
	var statement struct {
		Predicate provenance.ProvenancePredicateSLSA1 `json:"predicate"`
	}
	if err := json.Unmarshal(text, &statement); err != nil {
		t.Fatal(err)
	}
	for _, d := range statement.Predicate.BuildDefinition.ResolvedDependencies {
		r.fetched[d.URI] = d.Digest["sha256"]
	}
	n := statement.Predicate.RunDetails.Metadata.BuildKitMetadata.Network
	if n == nil || n.Mode != "proxy" {
		t.Fatalf("the provenance names the network %v", n)
	}
	if n.Proxy != nil {
		for _, in := range n.Proxy.Incomplete {
			r.incomplete = append(r.incomplete, in.Method+" "+in.URI+": "+in.Reason)
		}
	}
	return r, out.String(), nil
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// serveFiles is a server that the engine reaches as it reaches any other.
func serveFiles(t *testing.T, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", buildkitdtest.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "content") })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) })
	mux.HandleFunc("/nowhere", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/file")
		w.WriteHeader(http.StatusNotModified)
	})
	mux.HandleFunc("/changing", func(w http.ResponseWriter, _ *http.Request) { count++; fmt.Fprint(w, "content ", count) })
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	start(s)
	t.Cleanup(s.Close)
	return s
}

func TestRecordedNetwork(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	c := dial(t, buildkitdtest.Start(t))
	server := serveFiles(t, (*httptest.Server).Start)
	for _, test := range []struct {
		name       string
		args       []string
		fetched    map[string]string
		incomplete string
	}{
		{"a file", []string{"GET", "/file"}, map[string]string{"/file": "content"}, ""},
		{"a file twice", []string{"GET", "/file", "/file"}, map[string]string{"/file": "content"}, ""},
		{"a redirection", []string{"GET", "/moved"}, map[string]string{"/moved": "content", "/file": "content"}, ""},
		{"another method", []string{"POST", "/file"}, nil, "POST URL/file: method_not_materializable"},
		{"no body", []string{"HEAD", "/file"}, nil, "HEAD URL/file: method_not_materializable"},
		{"not there", []string{"GET", "/missing"}, nil, "GET URL/missing: unsuccessful_response"},
		{"nothing but headers", []string{"GET", "/nowhere"}, nil, "GET URL/nowhere: redirect_not_followed"},
		{"a body that changes", []string{"GET", "/changing", "/changing"}, map[string]string{"/changing": "content 1"}, "GET URL/changing: content_changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{"fetch", test.args[0]}
			for _, path := range test.args[1:] {
				args = append(args, server.URL+path)
			}
			got, out, err := record(t, c, args...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(out, "proxy network requests") {
				t.Errorf("what BuildKit noted stands in the step's log:\n%s", out)
			}
			want := map[string]string{}
			for path, content := range test.fetched {
				want[server.URL+path] = sha(content)
			}
			if fmt.Sprint(got.fetched) != fmt.Sprint(want) {
				t.Errorf("fetched %v, want %v", got.fetched, want)
			}
			incomplete := strings.ReplaceAll(strings.Join(got.incomplete, "\n"), server.URL, "URL")
			if incomplete != test.incomplete {
				t.Errorf("incomplete: %q, want %q", incomplete, test.incomplete)
			}
		})
	}
}

// TestRecordedHTTPS: a step trusts the proxy, which trusts whom this machine
// trusts, also in an image without any certificates.
func TestRecordedHTTPS(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	cert := certificate(t)
	server := serveFiles(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
	})
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Leaf.Raw})
	if err := os.WriteFile(authorities, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	d := buildkitdtest.New(t)
	d.Environ = append(os.Environ(), "SSL_CERT_FILE="+authorities)
	s, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, out, err := record(t, dial(t, s.Address), "fetch", "GET", server.URL+"/file")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.fetched[server.URL+"/file"] != sha("content") || len(got.incomplete) > 0 {
		t.Errorf("got %+v", got)
	}
	// An engine that does not trust the server does not make the step do so.
	if got, out, _ := record(t, dial(t, buildkitdtest.Start(t)), "fetch", "GET", server.URL+"/file"); len(got.fetched) > 0 || len(got.incomplete) != 1 {
		t.Errorf("a server whom nobody knows: %+v\n%s", got, out)
	}
}

// certificate is that of a server at the address of the test's own network.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.ParseIP(buildkitdtest.Address)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestRecordedNetworkIsTheOnlyOne: whatever a step tries but HTTP by the proxy
// leads nowhere, though this machine itself would get there.
func TestRecordedNetworkIsTheOnlyOne(t *testing.T) {
	if !buildkitdtest.OwnNetwork(t) {
		return
	}
	status, err := buildkitdtest.Shared(t).Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, status.Address)
	_, port, _ := net.SplitHostPort(listenLocally(t))
	elsewhere := serveFiles(t, (*httptest.Server).Start)
	udp, err := net.ListenPacket("udp", buildkitdtest.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	arrived := make(chan string, 10)
	go func() {
		var b [100]byte
		for {
			n, from, err := udp.ReadFrom(b[:])
			if err != nil {
				return
			}
			arrived <- fmt.Sprintf("%q from %s", b[:n], from)
		}
	}()
	if conn, err := net.Dial("tcp", elsewhere.Listener.Addr().String()); err != nil {
		t.Fatal("the test cannot fail: ", err)
	} else {
		conn.Close()
	}
	for name, args := range map[string][]string{
		"this machine's loopback":         {"dial", "127.0.0.1:" + port},
		"TCP":                             {"dial", elsewhere.Listener.Addr().String()},
		"UDP":                             {"send", "udp", udp.LocalAddr().String()},
		"ICMP":                            {"send", "ip4:icmp", buildkitdtest.Address},
		"the metadata service":            {"dial", "169.254.169.254:80"},
		"DNS":                             {"ask", "example.org"},
		"the engine's socket":             {"dial", strings.TrimPrefix(status.Address, "unix://")},
		"the metadata service, by proxy":  {"fetch", "GET", "http://169.254.169.254/latest/meta-data"},
		"loopback by a name, by proxy":    {"fetch", "GET", "http://127.1:" + port + "/"},
		"something not of HTTP, by proxy": {"tunnel", elsewhere.Listener.Addr().String()},
		"a websocket, by proxy":           {"upgrade", elsewhere.URL + "/file"},
	} {
		got, out, err := record(t, c, args...)
		t.Logf("%s: %v %v %s", name, err, got.incomplete, strings.TrimSpace(out))
		if err == nil && len(got.incomplete) == 0 {
			t.Errorf("%s: %+v\n%s", name, got, out)
		}
	}
	select {
	case packet := <-arrived:
		t.Errorf("a packet arrived: %s", packet)
	default:
	}
	_, out, err := record(t, c, "look")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"env: HTTPS_PROXY=http://127.0.0.1:3128\n", "interface: lo\n", "interface: eth0\n", `file: /etc/resolv.conf "" <nil>`} {
		if !strings.Contains(out, want) {
			t.Errorf("missing %q in:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "interface: "); n != 2 {
		t.Errorf("%d interfaces:\n%s", n, out)
	}
}
