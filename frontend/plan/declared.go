// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Declared answers what outputs name, from paths alone. Not safe for concurrent
// use.
type Declared struct{ outputs *selection }

// NewDeclared compiles the patterns; those that package pipeline read compile.
func NewDeclared(outputs []pipeline.Pattern) (*Declared, error) {
	s, err := newSelection(outputs)
	return &Declared{s}, err
}

// Has reports whether the outputs name a path, relative to the project and with
// slashes, or a folder above it.
func (d *Declared) Has(path string, isDir bool) bool {
	at := d.outputs.start()
	for path != "" {
		name, rest, more := strings.Cut(path, "/")
		at = d.outputs.step(at, name, isDir || more)
		path = rest
	}
	return d.outputs.verdict(at, isDir).Take
}
