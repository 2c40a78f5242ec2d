// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"

	"github.com/attest-pipeline/attest/frontend/source"
)

// ErrInvalid is matched by every error about what stands in an attest.yaml.
var ErrInvalid = errors.New("invalid pipeline")

// MaxSize is the size in bytes of the largest attest.yaml that is read.
const MaxSize = 16 << 20

// Load reads the attest.yaml at path. display is the name that errors and
// places give it; path itself when empty.
//
// A file that is not there or cannot be opened is an error of the file system
// ([errors.Is] with [io/fs.ErrNotExist] works). Everything else, a folder or a
// FIFO in the file's place included, is as in [Parse].
func Load(path, display string) (*Pipeline, error) {
	return nil, errors.New("not yet")
}

// Parse reads the bytes of an attest.yaml. On error the Pipeline is nil, and
// the error holds one [source.Error] for every problem, ordered by place: see
// [source.All]. Each matches [ErrInvalid].
func Parse(file *source.File) (*Pipeline, error) {
	return nil, errors.New("not yet")
}

// Schema returns the JSON Schema (draft 2020-12) of attest.yaml, for editors.
func Schema() []byte { return nil }
