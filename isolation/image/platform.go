// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"runtime"
	"strings"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// Local returns the platform of containers on this machine: linux, whatever
// this program runs on.
func Local() ocispecs.Platform {
	p := ocispecs.Platform{OS: "linux", Architecture: runtime.GOARCH}
	if p.Architecture == "arm" {
		p.Variant = "v7"
	}
	return p
}

// choose returns the first manifest for the platform.
func choose(list []ocispecs.Descriptor, platform ocispecs.Platform) (ocispecs.Descriptor, error) {
	var have []string
	for _, d := range list {
		if d.Platform == nil {
			continue
		}
		if fits(*d.Platform, platform) {
			return d, nil
		}
		if d.Platform.OS != "unknown" { // how builders mark attestations
			have = append(have, platformName(*d.Platform))
		}
	}
	err := fmt.Errorf("no image for %s", platformName(platform))
	if len(have) == 0 {
		return ocispecs.Descriptor{}, err
	}
	return ocispecs.Descriptor{}, &executor.HintedError{Err: err,
		Hints: []string{"there is one for " + strings.Join(have, ", ")}}
}

// fits reports whether an image for have runs on want. An architecture of one
// variant may be spelled with or without it.
func fits(have, want ocispecs.Platform) bool {
	return have.OS == want.OS && have.Architecture == want.Architecture &&
		(have.Variant == want.Variant || have.Variant == "" || want.Variant == "")
}

func platformName(p ocispecs.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}
