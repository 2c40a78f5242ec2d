// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"slices"
	"strings"
	"testing"
)

// floors are ordered from the ground up. A package imports its own floor and
// those below, never one above.
var floors = []string{"attestation", "frontend", "llb", "isolation", "integration", "cmd", "hack"}

// aboveItsFloor stands in a lower folder than its imports say. The body of
// BuildKit's gateway frontend reads pipelines, so it is found beside them, but
// it is a program's body and compiles plans to LLB.
const aboveItsFloor = "frontend/gateway"

// doors are the only places that may import a heavy dependency. A name that
// ends in "/..." stands for everything below as well.
var doors = []struct {
	dependency string
	places     []string
}{
	{"lukechampine.com/blake3/...", []string{"attestation/digest"}},
	{"github.com/zeebo/blake3/...", []string{"attestation/digest"}},
	{"github.com/in-toto/...", []string{"attestation/intoto"}},
	{"github.com/gowebpki/jcs", []string{"attestation/canon"}},
	{"go.yaml.in/...", []string{"attestation/receipt/...", "frontend/declare", "frontend/pipeline", "cmd/attest/..."}},
	{"github.com/alecthomas/kong", []string{"cmd/..."}},
	{"charm.land/...", []string{"cmd/..."}},
	{"github.com/moby/buildkit/client", []string{"isolation/container/...", "isolation/buildkitd/..."}},
	{"github.com/moby/buildkit/...", []string{
		"llb/...", "isolation/container/...", "isolation/buildkitd/...", "isolation/vm/...", "frontend/gateway/...",
	}},
	{"github.com/containerd/...", []string{"llb/...", "isolation/container/...", "isolation/buildkitd/...", "isolation/vm/..."}},
	{"github.com/rogpeppe/go-internal/testscript", []string{"cmd/...", "integration/..."}},
}

// lean packages must not need these, directly or not.
var lean = []struct {
	pkg     string
	without []string
	why     string
}{
	{"attestation/verify", []string{
		"github.com/moby/...", "github.com/containerd/...", "k8s.io/...", "github.com/alecthomas/kong",
	}, "who only verifies needs no engine"},
	{"isolation/buildkitd/launch", []string{"github.com/moby/buildkit/..."}, "starting the daemon is not being it"},
	{"cmd/attest", []string{"github.com/moby/buildkit/executor/...", "github.com/moby/buildkit/worker/...", "github.com/moby/buildkit/solver/llbsolver/..."}, "attest starts in milliseconds"},
}

// within reports whether a path is what a pattern of doors or lean stands for.
func within(path, pattern string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == parent || strings.HasPrefix(path, parent+"/")
	}
	return path == pattern
}

func floorOf(rel string) int {
	if within(rel, aboveItsFloor+"/...") {
		return slices.Index(floors, "cmd")
	}
	top, _, _ := strings.Cut(rel, "/")
	return slices.Index(floors, top)
}

// TestImportsGoDown also holds for tests: what a floor's tests need stands on
// that floor or below.
func TestImportsGoDown(t *testing.T) {
	for _, p := range loaded(t).own {
		from := floorOf(p.rel())
		if from < 0 {
			t.Errorf("%s is on no floor: there are %s", p.rel(), strings.Join(floors, ", "))
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			rel, own := strings.CutPrefix(imported, module+"/")
			if own && floorOf(rel) > from {
				t.Errorf("%s imports %s: %s may not import %s", p.rel(), rel, floors[from], floors[floorOf(rel)])
			}
		}
	}
}

func TestDoors(t *testing.T) {
	for _, p := range loaded(t).own {
		for _, imported := range p.Imports {
			for _, door := range doors {
				if !within(imported, door.dependency) {
					continue
				}
				if !slices.ContainsFunc(door.places, func(place string) bool { return within(p.rel(), place) }) {
					t.Errorf("%s imports %s: only %s may", p.rel(), imported, strings.Join(door.places, ", "))
				}
			}
		}
	}
}

func TestLean(t *testing.T) {
	prog := loaded(t)
	for _, l := range lean {
		needed := prog.needs(module + "/" + l.pkg)
		if len(needed) == 0 {
			t.Errorf("there is no package %s", l.pkg)
		}
		var extra []string
		for path := range needed {
			if slices.ContainsFunc(l.without, func(pattern string) bool { return within(path, pattern) }) {
				extra = append(extra, path)
			}
		}
		if len(extra) > 0 {
			t.Errorf("%s needs %s and %d more of their like: %s", l.pkg, slices.Min(extra), len(extra)-1, l.why)
		}
	}
}

func TestNamesSaySomething(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "types", "base", "manager", "misc"}
	for _, p := range loaded(t).own {
		if slices.Contains(empty, p.Name) {
			t.Errorf("%s: %q says nothing about what is in the package", p.rel(), p.Name)
		}
	}
	for _, floor := range floors {
		if prog := loaded(t); prog.all[module+"/"+floor] != nil {
			t.Errorf("%s/ is a folder of packages and holds no Go files of its own", floor)
		}
	}
}
