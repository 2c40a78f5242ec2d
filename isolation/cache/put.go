// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Put stores a Result, reading its outputs below from. An error means that the
// Result is not kept, and is no reason for a step to fail: see [ErrOff] and
// [ErrTooLarge]. Results that were used least recently go where there is no
// room.
func (s *Store) Put(ctx context.Context, r Result, from *os.Root) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if s.off.Load() {
		return ErrOff
	}
	err := s.put(ctx, r, from)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	if err != nil && lasting(err) {
		s.off.Store(true)
	}
	if err != nil {
		return fmt.Errorf("storing a result in the cache: %w", err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, r Result, from *os.Root) error {
	if digest.Of(r.Document) != r.Key {
		return fmt.Errorf("the document is not that of the key %v", r.Key)
	}
	if len(r.Facts) > maxFacts {
		return fmt.Errorf("its facts are longer than %d bytes", maxFacts)
	}
	p, err := s.prepare(r, from)
	if err != nil {
		return err
	}
	for range maxTries {
		stored, err := p.attempt(ctx)
		if stored || err != nil {
			return err
		}
		if _, err := s.collect(ctx, p.target(), s.pressed); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: others leave no room for it", ErrTooLarge)
}

// maxTries is how often room is made: others may take it before we do.
const maxTries = 5

// putting is a Result on its way into the cache.
type putting struct {
	store  *Store
	result Result
	from   *os.Root
	entry  *Entry
	record []byte

	top, receipts, metadata *os.Root
	blobs                   *cas.Dir

	need int64 // what it takes of the disk at most
}

func (s *Store) prepare(r Result, from *os.Root) (*putting, error) {
	p := &putting{store: s, result: r, from: from}
	var err [5]error
	p.blobs, err[0] = s.makeContent()
	p.receipts, err[1] = s.makeFolder(receiptsDir)
	p.metadata, err[2] = s.makeFolder(metadataDir)
	p.top, err[3] = s.top()
	p.entry, err[4] = s.entryOf(r, from)
	if err := errors.Join(err[:]...); err != nil {
		return nil, err
	}
	p.record = p.entry.marshal()
	return p, nil
}

// entryOf describes the result as it will be found again.
func (s *Store) entryOf(r Result, from *os.Root) (*Entry, error) {
	e := &Entry{Key: r.Key, Outputs: r.Outputs, Facts: r.Facts, Stored: s.o.Now()}
	for _, dir := range foldersOf(r.Outputs) {
		info, err := from.Lstat(dir)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%q is not a folder", dir)
		}
		e.Folders = append(e.Folders, tree.Entry{Path: dir, Kind: tree.Dir, Perm: uint32(info.Mode().Perm())})
	}
	if r.LogFile == "" {
		return e, nil
	}
	log, err := os.Open(r.LogFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	sum, size, err := digest.Read(log)
	if err == nil && size > 0 {
		e.Log = cas.Blob{Digest: sum, Size: size}
	}
	return e, err
}

// target is how much may be left in the cache when room is made: a tenth less
// than allowed, so that not every step has to.
func (p *putting) target() int64 {
	most := p.store.o.MaxSize
	if most == 0 {
		return 0
	}
	return max(1, min(most-p.need, most/10*9))
}

// attempt stores the result if there is room.
func (p *putting) attempt(ctx context.Context) (stored bool, err error) {
	release, err := p.store.hold(ctx, shared)
	if err != nil {
		return false, err
	}
	defer release()
	listing := p.listing()
	most := p.store.o.MaxSize
	if p.need = p.measure(listing); most > 0 && p.need > most {
		return false, ErrTooLarge
	}
	added, _, err := addSize(ctx, p.top, p.need, most)
	if err != nil || !added {
		return false, err
	}
	var taken atomic.Int64
	err = p.write(ctx, listing, &taken)
	_, _, sizeErr := addSize(context.WithoutCancel(ctx), p.top, taken.Load()-p.need, 0)
	return err == nil, errors.Join(err, sizeErr)
}

// listing returns the text of the input tree if the cache does not have it yet.
func (p *putting) listing() []byte {
	if inputs, ok := inputsOf(p.result.Document); ok {
		if b, err := p.blobs.Stat(inputs); err == nil && p.blobs.Has(b) {
			return nil
		}
	}
	return p.result.Inputs.Listing()
}

// measure returns what storing takes of the disk at most.
func (p *putting) measure(listing []byte) int64 {
	need := onDisk(int64(len(p.record))) + onDisk(int64(len(p.result.Document)))
	files := int64(2)
	add := func(size int64) {
		need += onDisk(size)
		files++
	}
	if len(listing) > 0 {
		add(int64(len(listing)))
	}
	for _, b := range p.entry.blobs() {
		if !p.blobs.Has(b) {
			add(b.Size)
		}
	}
	const folders = 3 * 256
	return need + min(files, folders)*blockSize
}

// write stores everything that the entry names, and the entry last.
func (p *putting) write(ctx context.Context, listing []byte, taken *atomic.Int64) error {
	if err := p.writeOutputs(ctx, taken); err != nil {
		return err
	}
	if p.entry.Log.Size > 0 {
		log, err := os.Open(p.result.LogFile)
		if err != nil {
			return err
		}
		size, err := p.blobs.PutFile(ctx, log, p.entry.Log)
		taken.Add(size)
		if err := errors.Join(err, log.Close()); err != nil {
			return err
		}
	}
	if len(listing) > 0 {
		_, size, err := p.blobs.PutBytes(ctx, listing)
		taken.Add(size)
		if err != nil {
			return err
		}
	}
	name := nameOf(p.entry.Key)
	if info, err := p.metadata.Lstat(name); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != int64(len(p.result.Document)) {
		size, err := writeFile(p.metadata, name, p.result.Document, p.store.stamp())
		taken.Add(size)
		if err != nil {
			return err
		}
	}
	size, err := writeFile(p.receipts, name, p.record, p.store.stamp())
	taken.Add(size)
	return err
}

func (p *putting) writeOutputs(ctx context.Context, taken *atomic.Int64) error {
	outputs := p.entry.Outputs.Entries()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), 1+len(outputs)/batch) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(outputs) {
					return nil
				}
				if outputs[i].Kind != tree.File || outputs[i].Size == 0 {
					continue
				}
				size, err := p.writeOutput(ctx, outputs[i])
				taken.Add(size)
				if err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func (p *putting) writeOutput(ctx context.Context, o tree.Entry) (int64, error) {
	f, err := tree.Open(p.from, o.Path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := p.blobs.PutFile(ctx, f, cas.Blob{Digest: o.Digest, Size: o.Size})
	if err != nil {
		return 0, fmt.Errorf("output %q: %w", o.Path, err)
	}
	return size, nil
}
