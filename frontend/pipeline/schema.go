// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	_ "embed" // for the schema
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of attest.yaml, for editors.
// It knows less than [Parse]: whatever it refuses, Parse refuses too.
func Schema() []byte { return slices.Clone(schema) }
