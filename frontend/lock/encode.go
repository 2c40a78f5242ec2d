// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// document is the file, as encoding/json sees it.
type document struct {
	Schema string                       `json:"schema"`
	Images map[string]string            `json:"images,omitempty"`
	Steps  map[string]map[string]string `json:"steps,omitempty"`
}

// Encode returns the one spelling of l. A name, URL or digest that a lock
// cannot hold is an error.
func (l *Lock) Encode() ([]byte, error) {
	doc := document{Schema: Schema, Images: map[string]string{}, Steps: map[string]map[string]string{}}
	var errs []error
	for name, d := range l.Images {
		errs = append(errs, checkImage(name, d))
		doc.Images[name] = d.String()
	}
	for step, fetches := range l.Steps {
		if step == "" || !utf8.ValidString(step) {
			errs = append(errs, fmt.Errorf("a step cannot be called %q", step))
		}
		if len(fetches) == 0 {
			continue
		}
		doc.Steps[step] = map[string]string{}
		for u, d := range fetches {
			errs = append(errs, checkFetch(u, d))
			doc.Steps[step][u] = d.String()
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("writing attest.lock: %w", err)
	}
	return b.Bytes(), nil
}

func checkImage(name string, d digest.Digest) error {
	if name == "" || !utf8.ValidString(name) {
		return fmt.Errorf("an image cannot be called %q", name)
	}
	return checkDigest(name, d)
}

func checkFetch(raw string, d digest.Digest) error {
	u, err := url.Parse(raw)
	if err != nil || !utf8.ValidString(raw) || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL of HTTP", raw)
	}
	return checkDigest(raw, d)
}

func checkDigest(of string, d digest.Digest) error {
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("the digest of %q is not sha256", of)
	}
	return nil
}
