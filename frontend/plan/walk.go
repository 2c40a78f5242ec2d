// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"strings"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/source"
)

// specials collects the complaints about special files.
type specials []*source.Error

// maxSpecial bounds how many are reported.
const maxSpecial = 20

// add complains about a file that was taken for what stands at why.
func (s *specials) add(err *tree.SpecialFileError, why source.Pos) {
	if len(*s) < maxSpecial {
		*s = append(*s, &source.Error{Pos: why, Msg: err.Error(), Err: errors.Join(ErrInput, err),
			Hints: []string{"remove it, or keep the step from it"}})
	}
}

// parent returns the folder that holds p, "." at the top.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }
