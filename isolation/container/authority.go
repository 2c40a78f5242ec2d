// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// The proxy of a recorded network stands in for servers by certificates of an
// authority of its own, which is among those that the step's image trusts while
// the step runs. A step that copies them to its outputs would have others
// trust it too. So outputs of such steps are searched for its name, as
// certificates spell it: in binary, and in base64 as PEM has it. Within a
// compressed archive it is not found.

// authorityName is what BuildKit calls its proxy's authority.
const authorityName = "BuildKit exec proxy"

// authorityDER is how the name begins in a certificate: it is a common name
// (2.5.4.3), a PrintableString of 19 bytes.
const authorityDER = "\x06\x03\x55\x04\x03\x13\x13" + authorityName

// authorityOffset is how many bytes of a certificate stand before the issuer's
// name, and authorityAligned is the next place where base64 begins anew.
const (
	authorityOffset  = 44
	authorityAligned = 48
)

// authoritySearch is a writer that looks for the authority in what passes by.
type authoritySearch struct {
	raw, text       []byte // what is looked for
	rawEnd, textEnd []byte // the end of what came so far
	found           bool
}

func newAuthoritySearch() *authoritySearch {
	part := authorityName[authorityAligned-authorityOffset:]
	return &authoritySearch{raw: []byte(authorityDER), text: []byte(base64.StdEncoding.EncodeToString([]byte(part)))}
}

// Write never fails.
func (s *authoritySearch) Write(p []byte) (int, error) {
	if s.found {
		return len(p), nil
	}
	s.rawEnd = s.search(append(s.rawEnd, p...), s.raw)
	plain := make([]byte, 0, len(s.textEnd)+len(p))
	plain = append(plain, s.textEnd...)
	for _, c := range p {
		if c != '\n' && c != '\r' && c != ' ' && c != '\t' {
			plain = append(plain, c)
		}
	}
	s.textEnd = s.search(plain, s.text)
	return len(p), nil
}

// search returns the part of data in which what is looked for may begin.
func (s *authoritySearch) search(data, what []byte) []byte {
	s.found = s.found || bytes.Contains(data, what)
	return bytes.Clone(data[max(0, len(data)-len(what)+1):])
}

// err is the error of an output that has the authority.
func (s *authoritySearch) err() error {
	if !s.found {
		return nil
	}
	return &executor.HintedError{
		Err:   errors.New("it holds the certificate of the recorded network's proxy, which whoever uses the output would trust"),
		Hints: []string{"do not copy the certificates that the step's image trusts; take them from the image, in a step with network: none"},
	}
}
