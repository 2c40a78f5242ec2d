// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// LayoutPrefix begins an image that is read from an OCI layout folder.
const LayoutPrefix = "oci-layout://"

// reference is the grammar of image names as registries have it: a host where
// it can be told from a folder, components, a tag, a digest. It is compiled at
// the first image: that takes longer than reading a pipeline without one.
var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^` +
		`(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?/)?` +
		`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*` +
		`(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?` +
		`(?:@sha256:[0-9a-f]{64})?$`)
})

const maxReference = 4096

// image returns the name of an image, checked for its form alone.
func (p *parser) image(f field) string {
	s, ok := p.filled(f)
	if !ok {
		return ""
	}
	complain := func(msg string, hints ...string) string {
		p.report(p.at(f.value), msg, hints...)
		return ""
	}
	layout, isLayout := strings.CutPrefix(s, LayoutPrefix)
	scheme, rest, hasScheme := strings.Cut(s, "://")
	switch {
	case len(s) > maxReference:
		return complain("image is longer than a name can be")
	case strings.ContainsFunc(s, unicode.IsControl):
		return complain("image holds a control character")
	case isLayout && strings.Trim(layout, "/.") == "" && layout != "." && layout != "..":
		return complain("image names no folder", "write oci-layout://path, with :tag where it holds several images")
	case isLayout:
		return s
	case hasScheme:
		return complain("image has an unknown scheme "+show(scheme), "write "+rest+" for a registry, or oci-layout://path for a folder")
	case reference().MatchString(s):
		return s
	case reference().MatchString(strings.ToLower(s)):
		return complain("image "+show(s)+" is not the name of an image", "names of images are lower case: "+strings.ToLower(s))
	default:
		return complain("image "+show(s)+" is not the name of an image", "write name:tag, name@sha256:digest, or oci-layout://path[:tag]")
	}
}
