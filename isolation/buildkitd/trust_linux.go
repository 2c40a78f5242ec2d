// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/continuity/fs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A proxy that records what is fetched by HTTPS stands in for the servers, and
// the step has to trust it. It does so while it runs and no longer: files of
// its image are hidden below mounts, not changed, so nothing has to be taken
// back. (BuildKit itself writes into the image's file and cleans it afterwards.)

// authorityFile is where a step finds the proxy's certificate. /dev is a file
// system of the container alone, so not even an empty file stays behind.
const authorityFile = "/dev/attest-proxy-ca.crt"

// maxBundle is more than any bundle of certificates is long.
const maxBundle = 10 << 20

// systemBundles is where Linux distributions keep the certificates that their
// programs trust.
func systemBundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/ca-bundle.pem", // openSUSE
		"/etc/ssl/cert.pem",
	}
}

// bundleVariables name a file with certificates to programs that bring their
// own, or find none in a small image. Every HTTPS connection of a step comes
// from the proxy, so no other authority is needed.
func bundleVariables() []string {
	return []string{
		"SSL_CERT_FILE",       // OpenSSL, Go, Ruby
		"NODE_EXTRA_CA_CERTS", // Node.js
		"REQUESTS_CA_BUNDLE",  // Python's requests
		"PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO",
	}
}

// trustProxy makes a container trust the authority in ca, which is PEM. It
// writes into bundle, the folder of this run of the container.
func trustProxy(spec *specs.Spec, ca []byte, bundle, rootfs string) error {
	own := filepath.Join(bundle, "proxy-ca.crt")
	if err := os.WriteFile(own, ca, 0o644); err != nil {
		return err
	}
	spec.Mounts = append(spec.Mounts, readOnly(own, authorityFile))
	var done []string
	for i, name := range systemBundles() {
		found, err := fs.RootPath(rootfs, name)
		if err != nil {
			return fmt.Errorf("finding %s in the image: %w", name, err)
		}
		info, err := os.Lstat(found)
		if err != nil || !info.Mode().IsRegular() || slices.Contains(done, found) {
			continue
		}
		done = append(done, found)
		joined := filepath.Join(bundle, "certificates-"+strconv.Itoa(i))
		if err := joinFile(joined, found, ca); err != nil {
			return fmt.Errorf("reading %s of the image: %w", name, err)
		}
		spec.Mounts = append(spec.Mounts, readOnly(joined, "/"+strings.TrimPrefix(found, rootfs+"/")))
	}
	for _, name := range bundleVariables() {
		if !slices.ContainsFunc(spec.Process.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			spec.Process.Env = append(spec.Process.Env, name+"="+authorityFile)
		}
	}
	return nil
}

func readOnly(source, destination string) specs.Mount {
	return specs.Mount{
		Type: "bind", Source: source, Destination: destination,
		Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	}
}

// joinFile writes what is in the file at from, and then more.
func joinFile(path, from string, more []byte) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	if err != nil {
		return err
	}
	if len(text) > maxBundle {
		return fmt.Errorf("it is larger than %d bytes", maxBundle)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return os.WriteFile(path, append(text, more...), 0o644)
}
