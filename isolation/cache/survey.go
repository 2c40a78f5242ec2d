// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
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
	folders   map[string]*part // those of two digits, by path
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

// part is content, a document, or a folder that such things stand in: what is
// there only because something else needs it.
type part struct {
	found   bool
	disk    int64
	content int64 // its length, where a root says so
	refs    int
	parts   []*part // what it needs itself: its folder; the listing that a document names

	// Of content.
	packable int64     // the length of its verbatim form, where compressing that may pay
	packed   bool      // its compressed form is there
	used     time.Time // when the Results that need it were last used
}

// keep counts one more that needs the part.
func (p *part) keep() {
	if p.refs++; p.refs > 1 {
		return
	}
	for _, other := range p.parts {
		other.keep()
	}
}

// use notes that the part, and what it needs, was used.
func (p *part) use(at time.Time) {
	if !at.After(p.used) {
		return
	}
	p.used = at
	for _, other := range p.parts {
		other.use(at)
	}
}

// release counts one less, and returns what is free on the disk for it.
func (p *part) release() int64 {
	if p.refs--; p.refs > 0 {
		return 0
	}
	free := p.disk
	for _, other := range p.parts {
		free += other.release()
	}
	return free
}

// survey looks at everything that is there. A folder that is not there is
// empty.
func (s *Store) survey(ctx context.Context) (*survey, error) {
	v := &survey{blobs: map[digest.Digest]*part{}, documents: map[digest.Digest]*part{}, folders: map[string]*part{}}
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
	for f, err := range blobs.Files() {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		if f.Foreign {
			continue
		}
		p := v.blob(f.Digest)
		p.find(f.Info, v.folder(outputsDir, f.Digest))
		p.packed = p.packed || f.Packed
		if f.Packable() {
			p.packable = f.Info.Size()
		}
	}
	return nil
}

func (v *survey) blob(d digest.Digest) *part     { return partOf(v.blobs, d) }
func (v *survey) document(d digest.Digest) *part { return partOf(v.documents, d) }

// folder is the one that the file of a digest stands in.
func (v *survey) folder(dir string, d digest.Digest) *part {
	p := partOf(v.folders, path.Join(dir, path.Dir(nameOf(d))))
	p.found, p.disk = true, blockSize
	return p
}

func partOf[K comparable](all map[K]*part, k K) *part {
	p, ok := all[k]
	if !ok {
		p = &part{}
		all[k] = p
	}
	return p
}

// find notes that the part is there. It may be so in two forms. Nothing needs
// it yet.
func (p *part) find(info fs.FileInfo, folder *part) {
	if !p.found {
		p.parts = append(p.parts, folder)
	}
	p.found = true
	p.disk += onDisk(info.Size())
}

func (s *Store) surveyDocuments(ctx context.Context, v *survey) error {
	metadata, err := s.folder(metadataDir)
	if err != nil {
		return err
	}
	return eachKey(ctx, metadata, func(key digest.Digest, info fs.FileInfo) {
		p := v.document(key)
		p.find(info, v.folder(metadataDir, key))
		if doc, err := s.Document(key); err == nil {
			if inputs, ok := inputsOf(doc); ok {
				p.parts = append(p.parts, v.blob(inputs))
			}
		}
	})
}

func (s *Store) surveyResults(ctx context.Context, v *survey) error {
	receipts, err := s.folder(receiptsDir)
	if err != nil {
		return err
	}
	return eachKey(ctx, receipts, func(key digest.Digest, info fs.FileInfo) {
		r := &root{
			folder: receiptsDir, name: nameOf(key), used: info.ModTime(), disk: onDisk(info.Size()),
			result: true, key: key,
		}
		if r.entry, r.err = s.read(key); errors.Is(r.err, fs.ErrNotExist) {
			return
		}
		r.need(v.folder(receiptsDir, key))
		if r.err == nil {
			r.need(v.document(key))
			for _, b := range r.entry.blobs() {
				p := v.blob(b.Digest)
				p.content = b.Size
				r.need(p)
			}
		}
		for _, p := range r.parts {
			p.use(r.used)
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
func eachKey(ctx context.Context, folder *os.Root, do func(digest.Digest, fs.FileInfo)) error {
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
// roots.
func (v *survey) size() (total int64) {
	for p := range v.parts() {
		if p.refs > 0 {
			total += p.disk
		}
	}
	for _, r := range v.roots {
		total += r.disk
	}
	return total
}

// waste is what takes some of the disk and is needed by nothing.
func (v *survey) waste() (total int64) {
	for p := range v.parts() {
		if p.refs == 0 {
			total += p.disk
		}
	}
	return total
}

func (v *survey) parts() iter.Seq[*part] {
	return func(yield func(*part) bool) {
		for _, all := range []iter.Seq[*part]{maps.Values(v.blobs), maps.Values(v.documents), maps.Values(v.folders)} {
			for p := range all {
				if !yield(p) {
					return
				}
			}
		}
	}
}
