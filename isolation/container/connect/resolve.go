// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// target is an address that BuildKit's client understands.
type target struct {
	address string
	tls     tlsFiles
	hints   []string // for when it cannot be reached
}

// tlsFiles are what mutual TLS takes, by path.
type tlsFiles struct {
	ca, cert, key string
	serverName    string // empty means the address's host
}

// complete reports whether both sides would prove who they are.
func (t tlsFiles) complete() bool { return t.ca != "" && t.cert != "" && t.key != "" }

func (t tlsFiles) options() []client.ClientOpt {
	if !t.complete() {
		return nil
	}
	return []client.ClientOpt{client.WithServerConfig(t.serverName, t.ca), client.WithCredentials(t.cert, t.key)}
}

// helperSchemes are addresses that a program on this host connects to.
var helperSchemes = []string{"docker-container", "podman-container", "kube-pod"}

// resolve turns what the user wrote into a target.
func resolve(address string, environ []string) (target, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return builder(address, environ)
	}
	if scheme == "buildx" {
		return builder(rest, environ)
	}
	return endpoint(address, tlsFiles{
		ca:         launch.Getenv(environ, "ATTEST_ENGINE_TLS_CA"),
		cert:       launch.Getenv(environ, "ATTEST_ENGINE_TLS_CERT"),
		key:        launch.Getenv(environ, "ATTEST_ENGINE_TLS_KEY"),
		serverName: launch.Getenv(environ, "ATTEST_ENGINE_TLS_SERVER_NAME"),
	})
}

// endpoint checks an address with a scheme.
func endpoint(address string, tls tlsFiles) (target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return target{}, unavailable(address, errors.New("not an address"), addressHint)
	}
	switch {
	case u.Scheme == "unix" && filepath.IsAbs(u.Path) && u.Host == "":
		return target{address: address, hints: []string{"is buildkitd running, and may this user open its socket?"}}, nil
	case u.Scheme == "tcp" && u.Port() != "":
		return tcp(address, u, tls)
	case slices.Contains(helperSchemes, u.Scheme) && u.Host != "":
		return target{address: address, hints: []string{"does the container run? try: " + tryHelper(u)}}, nil
	}
	return target{}, unavailable(address, errors.New("not an address"), addressHint)
}

const addressHint = "an engine is unix:///PATH, tcp://HOST:PORT, docker-container://NAME, or the name of a docker buildx builder"

func tcp(address string, u *url.URL, tls tlsFiles) (target, error) {
	if !tls.complete() {
		return target{}, unavailable(address,
			errors.New("tcp needs mutual TLS: without it, everybody on the network, a step included, could give the engine orders"),
			"set ATTEST_ENGINE_TLS_CA, ATTEST_ENGINE_TLS_CERT and ATTEST_ENGINE_TLS_KEY to PEM files",
			"or use a unix socket, over ssh -L if it is far away")
	}
	if tls.serverName == "" {
		tls.serverName = u.Hostname()
	}
	return target{address: address, tls: tls, hints: []string{"is buildkitd listening there, with a certificate for " + tls.serverName + "?"}}, nil
}

// tryHelper is a command by which the user sees what is wrong.
func tryHelper(u *url.URL) string {
	switch u.Scheme {
	case "kube-pod":
		return "kubectl get pod " + u.Host
	case "podman-container":
		return "podman ps --filter name=" + u.Host
	}
	return fmt.Sprintf("docker ps --filter name=%s", u.Host)
}
