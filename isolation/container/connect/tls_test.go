// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// TestDialStdio is not a test but what the container's buildctl does.
func TestDialStdio(t *testing.T) {
	path := os.Getenv("ATTEST_TEST_DIAL")
	if path == "" {
		t.Skip("run by other tests")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		conn.Close()
	}()
	_, _ = io.Copy(os.Stdout, conn)
}

// authority issues certificates, and writes them as files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	a := authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a authority) issue(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(a.path(name+"-key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// serveTLS puts an engine behind mutual TLS on loopback.
func serveTLS(t *testing.T, a authority, address string) string {
	t.Helper()
	a.issue(t, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.LoadX509KeyPair(a.path("server"), a.path("server-key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			outer, err := l.Accept()
			if err != nil {
				return
			}
			inner, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
			if err != nil {
				outer.Close()
				continue
			}
			pipe := func(dst, src net.Conn) {
				_, _ = io.Copy(dst, src)
				dst.Close()
				src.Close()
			}
			go pipe(outer, inner)
			go pipe(inner, outer)
		}
	}()
	return "tcp://" + l.Addr().String()
}

func TestMutualTLS(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	address := serveTLS(t, ours, buildkitdtest.Start(t))
	client := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ours.issue(t, "client", client)
	foreign.issue(t, "client", client)
	environ := func(ca, holder authority) []string {
		return []string{
			"ATTEST_ENGINE_TLS_CA=" + ca.path("ca"),
			"ATTEST_ENGINE_TLS_CERT=" + holder.path("client"), "ATTEST_ENGINE_TLS_KEY=" + holder.path("client-key"),
		}
	}
	open(t, connect.Options{Address: address, Environ: environ(ours, ours)})

	config := t.TempDir()
	writeBuilder(t, config, "far", `{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"`+address+
		`","DriverOpts":{"cacert":"`+ours.path("ca")+`","cert":"`+ours.path("client")+`","key":"`+ours.path("client-key")+`"}}]}`)
	open(t, connect.Options{Address: "far", Environ: []string{"BUILDX_CONFIG=" + config}})

	for name, env := range map[string][]string{
		"a client nobody trusts": environ(ours, foreign),
		"a server nobody trusts": environ(foreign, ours),
		"no client certificate":  environ(ours, ours)[:1],
	} {
		if c, err := connect.Open(t.Context(), connect.Options{Address: address, Environ: env}); !errors.Is(err, executor.ErrUnavailable) {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
}
