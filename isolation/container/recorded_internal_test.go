// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	sourcepolicy "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/moby/buildkit/util/apicaps"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/egress"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/llb/compile"
)

// authority is one as BuildKit makes it.
func authority(t *testing.T, name string) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestAuthoritySearch(t *testing.T) {
	der := authority(t, authorityName)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority(t, "Some other authority")})
	for name, test := range map[string]struct {
		data []byte
		want bool
	}{
		"DER":               {der, true},
		"PEM":               {text, true},
		"in a bundle":       {bytes.Join([][]byte{other, text, other}, []byte("\n")), true},
		"with other lines":  {[]byte(strings.ReplaceAll(base64.StdEncoding.EncodeToString(der), "e", "e\r\n  ")), true},
		"without lines":     {[]byte(base64.StdEncoding.EncodeToString(der)), true},
		"another authority": {other, false},
		"its name in text":  {[]byte("issuer: CN=" + authorityName), false},
		"nothing":           {nil, false},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			search := newAuthoritySearch()
			for data := test.data; len(data) > 0; data = data[min(piece, len(data)):] {
				if _, err := search.Write(data[:min(piece, len(data))]); err != nil {
					t.Fatal(err)
				}
			}
			if got := search.err() != nil; got != test.want {
				t.Errorf("%s in pieces of %d: found %t", name, piece, got)
			}
		}
	}
}

func recorderFor(t *testing.T, asked ...string) *recorder {
	t.Helper()
	r, err := newRecorder(executor.Job{Network: pipeline.NetworkRecorded})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range asked {
		req := &policysession.CheckPolicyRequest{Source: &gateway.ResolveSourceMetaResponse{Source: &pb.SourceOp{Identifier: url}}}
		if got, _, err := r.check(t.Context(), req); err != nil || got.Action != sourcepolicy.PolicyAction_ALLOW {
			t.Fatalf("%s: %v, %v", url, got, err)
		}
	}
	return r
}

// An engine's statement is believed only where it says that it is whole.
func TestFetched(t *testing.T) {
	const start, end = `{"predicate":{"buildDefinition":{"resolvedDependencies":[`, `]},"runDetails":{"metadata":{"buildkit_metadata":{`
	image := `{"uri":"pkg:docker/busybox","digest":{"sha256":"` + strings.Repeat("1", 64) + `"}}`
	file := `{"uri":"http://a:80/x","digest":{"sha256":"` + strings.Repeat("2", 64) + `"}}`
	proxy := `"network":{"mode":"proxy"}}}}}}`
	for _, test := range []struct {
		name, statement string
		asked           []string
		embedded        bool
		want            string // of the error; empty for none
		fetched         int
	}{
		{"a file", start + image + "," + file + end + proxy, []string{"http://a/x"}, false, "", 1},
		{"no file", start + image + end + proxy, nil, false, "", 0},
		{"a file twice", start + file + end + proxy, []string{"http://a/x", "http://a/x"}, true, "", 1},
		{"a file twice, elsewhere", start + file + end + proxy, []string{"http://a/x", "http://a/x"}, false, "more than once", 0},
		{"a file that is not stated", start + end + proxy, []string{"http://a/x"}, true, "GET http://a/x", 0},
		{"no statement", "", nil, true, "does not say", 0},
		{"no JSON", "{", nil, true, "reading what", 0},
		{"no proxy", start + image + end + `"network":{}}}}}}`, nil, true, "did not record", 0},
		{"another mode", start + image + end + `"network":{"mode":"host"}}}}}}`, nil, true, "did not record", 0},
		{"incomplete", start + image + end + `"network":{"mode":"proxy","proxy":{"incomplete":[{"method":"POST","uri":"http://a/","reason":"new"}]}}}}}}}`,
			nil, true, "POST http://a/: new", 0},
		{"no digest", start + `{"uri":"http://a/x"}` + end + proxy, nil, true, "http://a/x", 0},
		{"another digest", start + `{"uri":"http://a/x","digest":{"sha256":"12"}}` + end + proxy, nil, true, "http://a/x", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := recorderFor(t, test.asked...)
			if test.statement != "" {
				if taken, err := r.take(r.prefix+"provenance.json", strings.NewReader(test.statement)); !taken || err != nil {
					t.Fatalf("%t, %v", taken, err)
				}
			}
			got, _, err := r.fetched(test.embedded)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if err == nil && len(got) != test.fetched {
				t.Errorf("fetched %v", got)
			}
		})
	}
}

// Of a step that failed, what the engine told counts, and of other requests that
// they were made.
func TestAttempts(t *testing.T) {
	r := recorderFor(t, "http://a/x", "http://a/y", "http://a/z")
	sum := strings.Repeat("2", 64)
	for _, text := range egress.Reports([]egress.Answer{
		{Method: "GET", URL: "http://a/y", Reason: "unsuccessful_response"},
		{Method: "GET", URL: "http://a/x", SHA256: sum},
		{Method: "POST", URL: "http://a/x", Reason: "method_not_materializable"},
	}) {
		r.hear(text)
	}
	r.hear("[step] something that is no report")
	fetched, unrecorded := r.attempts()
	if len(fetched) != 1 || fetched[0].URL != "http://a/x" || fetched[0].SHA256.Hex() != sum {
		t.Errorf("fetched %v", fetched)
	}
	want := "GET http://a/y: the server did not have it|GET http://a/z: what came of it is not known|POST http://a/x: only GET can be recorded"
	if got := strings.Join(unrecorded, "|"); got != want {
		t.Errorf("unrecorded %q, want %q", got, want)
	}
}

func TestStatementIsNoOutput(t *testing.T) {
	r := recorderFor(t)
	if taken, err := r.take("provenance.json", strings.NewReader("{}")); taken || err != nil {
		t.Errorf("a step's own file: %t, %v", taken, err)
	}
	if taken, err := (*recorder)(nil).take("x", nil); taken || err != nil {
		t.Errorf("without a recorder: %t, %v", taken, err)
	}
	if again := recorderFor(t); again.prefix == r.prefix {
		t.Error("the name can be guessed")
	}
}

// What an older BuildKit says to a definition with a recorded network.
func TestTooOld(t *testing.T) {
	var none apicaps.CapList
	none.Init(apicaps.Cap{ID: "exec.meta.base", Enabled: true})
	refusal := none.CapSet(none.All())
	old := refusal.Supports(compile.CapRecorded)
	if old == nil {
		t.Fatal("the test cannot fail")
	}
	s := &solve{
		conn: &connect.Conn{Name: "buildkit v0.20"}, recorder: recorderFor(t),
		watch: newWatch(executor.Job{}, executor.Streams{}, newReporter(nil), false),
	}
	err := s.explain(fmt.Errorf("failed to solve: failed to load LLB: %w", old))
	if !errors.Is(err, executor.ErrUnavailable) || !strings.Contains(err.Error(), "buildkit v0.20 is too old") {
		t.Errorf("got %v", err)
	}
}
