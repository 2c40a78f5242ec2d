// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// maxBuilder is more than any builder's file is long.
const maxBuilder = 1 << 20

// builderName reports whether docker buildx allows a name; in particular no
// slashes.
func builderName(name string) bool {
	return regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9._-]*$`).MatchString(name)
}

// buildxBuilder is the part of a file in buildx's instances folder that says
// where the builder is.
type buildxBuilder struct {
	Name   string
	Driver string
	Nodes  []buildxNode
}

type buildxNode struct {
	Name       string
	Endpoint   string
	DriverOpts map[string]string
}

// builder finds a docker buildx builder by name. Of a builder with several
// nodes the first is used.
func builder(name string, environ []string) (target, error) {
	address := "buildx://" + name
	if !builderName(name) {
		return target{}, unavailable(name, errors.New("not an address"), addressHint)
	}
	b, err := readBuilder(name, environ)
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, unavailable(address, errors.New("docker buildx has no such builder"), "list them with: docker buildx ls", addressHint)
	}
	if err != nil {
		return target{}, unavailable(address, err)
	}
	if len(b.Nodes) == 0 {
		return target{}, unavailable(address, errors.New("the builder has no node"))
	}
	node := b.Nodes[0]
	switch b.Driver {
	case "docker-container":
		return containerNode(node, "docker buildx inspect --bootstrap "+name), nil
	case "remote":
		t, err := endpoint(node.Endpoint, tlsFiles{
			ca: node.DriverOpts["cacert"], cert: node.DriverOpts["cert"], key: node.DriverOpts["key"],
			serverName: node.DriverOpts["servername"],
		})
		return t, err
	case "kubernetes":
		return target{}, unavailable(address, errors.New("builders of driver kubernetes cannot be used by name"),
			"name the pod: kube-pod://POD?namespace=NAMESPACE")
	}
	return target{}, unavailable(address, fmt.Errorf("builders of driver %q cannot be used", b.Driver),
		"make one that can: docker buildx create --driver docker-container --bootstrap")
}

// containerNode is where buildx runs BuildKit for a node of a docker-container
// builder. The node's endpoint is a docker context, or an address of docker
// that its context knows already.
func containerNode(n buildxNode, start string) target {
	u := url.URL{Scheme: "docker-container", Host: "buildx_buildkit_" + n.Name}
	if n.Endpoint != "" && n.Endpoint != "default" && !strings.Contains(n.Endpoint, "://") {
		u.RawQuery = url.Values{"context": {n.Endpoint}}.Encode()
	}
	return target{address: u.String(), hints: []string{"start the builder with: " + start}}
}

func readBuilder(name string, environ []string) (buildxBuilder, error) {
	dir, err := buildxDir(environ)
	if err != nil {
		return buildxBuilder{}, err
	}
	f, err := os.Open(filepath.Join(dir, "instances", strings.ToLower(name)))
	if err != nil {
		return buildxBuilder{}, err
	}
	defer f.Close()
	var b buildxBuilder
	if err := json.NewDecoder(io.LimitReader(f, maxBuilder)).Decode(&b); err != nil {
		return b, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return b, nil
}

// buildxDir is BUILDX_CONFIG, else buildx in DOCKER_CONFIG, else
// ~/.docker/buildx.
func buildxDir(environ []string) (string, error) {
	if dir := launch.Getenv(environ, "BUILDX_CONFIG"); dir != "" {
		return dir, nil
	}
	if dir := launch.Getenv(environ, "DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "buildx"), nil
	}
	home := launch.Getenv(environ, "HOME")
	if home == "" {
		return "", errors.New("finding docker's settings: HOME is not set")
	}
	return filepath.Join(home, ".docker", "buildx"), nil
}
