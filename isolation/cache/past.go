// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

const (
	maxDocument = 64 << 20
	maxListing  = 1 << 30
	maxLast     = 256 << 20
)

// Document returns the pre-image of a key: also of one whose Result has been
// evicted, for as long as it is the last of some step (see [Store.SaveLast]).
// The error matches fs.ErrNotExist where the cache does not have it.
func (s *Store) Document(key digest.Digest) ([]byte, error) {
	if key.Algorithm() != digest.BLAKE3 {
		return nil, fs.ErrNotExist
	}
	metadata, err := s.folder(metadataDir)
	if err != nil {
		return nil, err
	}
	doc, err := readFile(metadata, nameOf(key), maxDocument)
	if err == nil && digest.Of(doc) != key {
		err = fmt.Errorf("%w: it is not the document of the key %v", cas.ErrDamaged, key)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what a key was made of: %w", err)
	}
	return doc, nil
}

// inputsOf returns the digest of the input listing that a document names.
func inputsOf(document []byte) (digest.Digest, bool) {
	var doc struct {
		Inputs digest.Digest `json:"inputs"`
	}
	err := json.Unmarshal(document, &doc)
	return doc.Inputs, err == nil && doc.Inputs.Algorithm() == digest.BLAKE3
}

// Listing returns the input tree of a digest that stands as "inputs" in a
// [Store.Document]. Targets of symbolic links are not in it. The error matches
// fs.ErrNotExist where the cache does not have it.
func (s *Store) Listing(ctx context.Context, inputs digest.Digest) (tree.Tree, error) {
	text, err := s.listing(ctx, inputs)
	if errors.Is(err, cas.ErrNotFound) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return tree.Tree{}, fmt.Errorf("reading a list of inputs: %w", err)
	}
	return tree.ParseListing(text)
}

func (s *Store) listing(ctx context.Context, inputs digest.Digest) ([]byte, error) {
	blobs, err := s.content()
	if err != nil {
		return nil, err
	}
	b, err := blobs.Stat(inputs)
	if err != nil {
		return nil, err
	}
	if b.Size > maxListing {
		return nil, fmt.Errorf("%w: a list of %d bytes", cas.ErrDamaged, b.Size)
	}
	r, err := blobs.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	return text, errors.Join(err, r.Close())
}

// lastHeader opens the file of a pipeline's last keys. FORMAT.md specifies it.
const lastHeader = "attest.last/v1\n"

func lastName(pipeline string) string { return digest.Of([]byte(pipeline)).Hex() }

// Last returns the keys that the steps of a pipeline had when they last
// succeeded, by step; pipeline is any text that names the pipeline and the
// project in which it is run. An empty map where nothing is known.
func (s *Store) Last(pipeline string) map[string]digest.Digest {
	keys, err := s.last(lastName(pipeline))
	if err != nil {
		return map[string]digest.Digest{}
	}
	return keys
}

func (s *Store) last(name string) (map[string]digest.Digest, error) {
	folder, err := s.folder(lastDir)
	if err != nil {
		return nil, err
	}
	data, err := readFile(folder, name, maxLast)
	if err != nil {
		return nil, err
	}
	return parseLast(data)
}

// SaveLast remembers keys for [Store.Last]; steps that are not among them keep
// theirs. Nothing is written where nothing changed. Calls for one pipeline must
// not overlap.
func (s *Store) SaveLast(pipeline string, keys map[string]digest.Digest) error {
	all := s.Last(pipeline)
	before := maps.Clone(all)
	maps.Copy(all, keys)
	name := lastName(pipeline)
	if maps.Equal(all, before) && !s.fading(name) || len(all) == 0 {
		return nil
	}
	if s.off.Load() {
		return ErrOff
	}
	folder, err := s.makeFolder(lastDir)
	if err == nil {
		_, err = writeFile(folder, name, marshalLast(all), s.stamp())
	}
	if err == nil {
		return nil
	}
	if lasting(err) {
		s.off.Store(true)
	}
	return fmt.Errorf("storing the keys of a run in the cache: %w", err)
}

// fading reports whether a file was last said to be of use a day ago or more.
func (s *Store) fading(name string) bool {
	folder, err := s.folder(lastDir)
	if err != nil {
		return true
	}
	info, err := folder.Lstat(name)
	return err != nil || s.o.Now().Sub(info.ModTime()) > 24*time.Hour
}

func marshalLast(keys map[string]digest.Digest) []byte {
	b := []byte(lastHeader)
	for _, step := range slices.Sorted(maps.Keys(keys)) {
		b = append(b, keys[step].Hex()...)
		b = append(b, ' ')
		b = appendText(b, step)
		b = append(b, '\n')
	}
	return fmt.Appendf(b, "end %s\n", digest.Of(b).Hex())
}

// parseLast reads what marshalLast wrote. Errors match cas.ErrDamaged.
func parseLast(data []byte) (map[string]digest.Digest, error) {
	p, err := openParser(data)
	if err != nil {
		return nil, err
	}
	keys := map[string]digest.Digest{}
	p.literal(lastHeader)
	for before := ""; len(p.rest) > 0; {
		key := p.digest(digest.BLAKE3, ' ')
		step := p.text('\n')
		if key.IsZero() || step <= before && len(keys) > 0 {
			p.fail("a step without a key, or out of order")
		}
		keys[step], before = key, step
	}
	if p.err != nil {
		return nil, fmt.Errorf("%w: %w", cas.ErrDamaged, p.err)
	}
	return keys, nil
}
