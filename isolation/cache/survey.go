// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// survey is all that stands in a cache, and what needs what. Content is not
// read for it, and need not be there.
type survey struct {
	roots     []*root
	blobs     map[digest.Digest]*part
	documents map[digest.Digest]*part
	folders   int64 // how many
}

// root is a file that keeps others: the entry of a Result, or the last keys of
// a pipeline.
type root struct {
	folder string // of the cache
	name   string // in the folder
	used   time.Time
	disk   int64

	result bool
	key    digest.Digest // of a result
	entry  *Entry        // of a result; nil where err is set
	err    error         // that it cannot be read

	parts []*part
}

// path is relative to the cache's folder.
func (r *root) path() string { return r.folder + "/" + r.name }

// part is content, or a document, that roots need.
type part struct {
	disk    int64 // 0 where it is not there
	content int64 // its length, where a root says so
	refs    int
	inputs  *part // the listing that a document names
}

// keep counts one more that needs the part.
func (p *part) keep() {
	if p.refs++; p.refs == 1 && p.inputs != nil {
		p.inputs.keep()
	}
}

// release counts one less, and returns what is free on the disk for it.
func (p *part) release() int64 {
	if p.refs--; p.refs > 0 {
		return 0
	}
	free := p.disk
	if p.inputs != nil {
		free += p.inputs.release()
	}
	return free
}

// survey looks at everything that is there. A folder that is not there is
// empty.
func (s *Store) survey(ctx context.Context) (*survey, error) {
	v := &survey{blobs: map[digest.Digest]*part{}, documents: map[digest.Digest]*part{}}
	for _, look := range []func(context.Context, *survey) error{
		s.surveyBlobs, s.surveyDocuments, s.surveyResults, s.surveyLast,
	} {
		if err := look(ctx, v); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return v, nil
}

func (s *Store) surveyBlobs(ctx context.Context, v *survey) error {
	blobs, err := s.content()
	if err != nil {
		return err
	}
	dir := ""
	for f, err := range blobs.Files() {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		if top, _, _ := strings.Cut(f.Path, "/"); top != dir {
			dir = top
			v.folders++
		}
		if !f.Foreign {
			v.blob(f.Digest).disk += onDisk(f.Info.Size())
		}
	}
	return nil
}

func (v *survey) blob(d digest.Digest) *part     { return partOf(v.blobs, d) }
func (v *survey) document(d digest.Digest) *part { return partOf(v.documents, d) }

func partOf(all map[digest.Digest]*part, d digest.Digest) *part {
	p, ok := all[d]
	if !ok {
		p = &part{}
		all[d] = p
	}
	return p
}

func (s *Store) surveyDocuments(ctx context.Context, v *survey) error {
	metadata, err := s.folder(metadataDir)
	if err != nil {
		return err
	}
	return eachKey(ctx, metadata, v, func(key digest.Digest, info fs.FileInfo) {
		p := v.document(key)
		p.disk = onDisk(info.Size())
		if doc, err := s.Document(key); err == nil {
			if inputs, ok := inputsOf(doc); ok {
				p.inputs = v.blob(inputs)
			}
		}
	})
}

func (s *Store) surveyResults(ctx context.Context, v *survey) error {
	receipts, err := s.folder(receiptsDir)
	if err != nil {
		return err
	}
	return eachKey(ctx, receipts, v, func(key digest.Digest, info fs.FileInfo) {
		r := &root{
			folder: receiptsDir, name: nameOf(key), used: info.ModTime(), disk: onDisk(info.Size()),
			result: true, key: key,
		}
		if r.entry, r.err = s.read(key); errors.Is(r.err, fs.ErrNotExist) {
			return
		}
		if r.err == nil {
			r.need(v.document(key))
			for _, b := range r.entry.blobs() {
				p := v.blob(b.Digest)
				p.content = b.Size
				r.need(p)
			}
		}
		v.roots = append(v.roots, r)
	})
}

func (r *root) need(p *part) {
	p.keep()
	r.parts = append(r.parts, p)
}

func (s *Store) surveyLast(ctx context.Context, v *survey) error {
	last, err := s.folder(lastDir)
	if err != nil {
		return err
	}
	names, err := namesIn(last, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := last.Lstat(name)
		if err != nil || strings.HasPrefix(name, tempPrefix) {
			continue
		}
		r := &root{folder: lastDir, name: name, used: info.ModTime(), disk: onDisk(info.Size())}
		var keys map[string]digest.Digest
		if keys, r.err = s.last(name); r.err == nil {
			for _, key := range keys {
				r.need(v.document(key))
			}
		}
		v.roots = append(v.roots, r)
	}
	return context.Cause(ctx)
}

// eachKey calls do for every file of a folder that stands at the name of a key.
func eachKey(ctx context.Context, folder *os.Root, v *survey, do func(digest.Digest, fs.FileInfo)) error {
	tops, err := namesIn(folder, ".")
	if err != nil {
		return err
	}
	for _, top := range tops {
		if len(top) != 2 {
			continue
		}
		names, err := namesIn(folder, top)
		if err != nil {
			return err
		}
		v.folders++
		for _, name := range names {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			key, ok := keyOf(top, name)
			info, err := folder.Lstat(top + "/" + name)
			if ok && err == nil {
				do(key, info)
			}
		}
	}
	return nil
}

// size returns what everything takes of the disk that some root needs, with the
// roots and the folders.
func (v *survey) size() int64 {
	total := v.folders * blockSize
	for _, parts := range []map[digest.Digest]*part{v.blobs, v.documents} {
		for _, p := range parts {
			if p.refs > 0 {
				total += p.disk
			}
		}
	}
	for _, r := range v.roots {
		total += r.disk
	}
	return total
}
