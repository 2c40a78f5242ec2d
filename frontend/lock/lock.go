// SPDX-License-Identifier: Apache-2.0

// Package lock reads and writes attest.lock: what the names in a pipeline stood
// for when it was last looked. FORMAT.md specifies it.
//
// Start with [Load] and [Lock.Encode]. A lock pins images to digests, and what
// recorded steps fetch to the digests of what came. It is committed beside
// attest.yaml, made by programs and read by people: one content has one
// spelling, with a line for each thing, so that differences are easy to review.
package lock

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// ErrInvalid is matched by every error about the content of a lock.
var ErrInvalid = errors.New("attest.lock is not valid")

// Schema is the version of the format that this package reads and writes.
const Schema = "attest.lock/v1"

// Lock is the content of an attest.lock. The zero value locks nothing. It is
// not to be changed while others read it.
type Lock struct {
	// Images are the digests of images, by name as in attest.yaml, SHA-256.
	// Those that attest.yaml names by digest are not among them.
	Images map[string]digest.Digest
	// Steps are the SHA-256 digests of what recorded steps fetch, by the name
	// of the step and the URL.
	Steps map[string]map[string]digest.Digest
}

// Name returns the path of the lock that belongs to a pipeline's file:
// "attest.lock" for "attest.yaml".
func Name(pipelineFile string) string {
	return strings.TrimSuffix(pipelineFile, filepath.Ext(pipelineFile)) + ".lock"
}

// Image returns the locked digest of an image, as attest.yaml names it.
func (l *Lock) Image(name string) (digest.Digest, bool) {
	if l == nil {
		return digest.Digest{}, false
	}
	d, ok := l.Images[name]
	return d, ok
}

// Fetches returns the locked digests of a step by URL; nil where there are
// none. It is not to be changed.
func (l *Lock) Fetches(step string) map[string]digest.Digest {
	if l == nil {
		return nil
	}
	return l.Steps[step]
}

// With returns a lock with what is in more over what is in l, either of which
// may be nil: images one by one, steps as a whole.
func (l *Lock) With(more *Lock) *Lock {
	sum := &Lock{Images: map[string]digest.Digest{}, Steps: map[string]map[string]digest.Digest{}}
	for _, one := range []*Lock{l, more} {
		if one != nil {
			maps.Copy(sum.Images, one.Images)
			maps.Copy(sum.Steps, one.Steps)
		}
	}
	return sum
}
