// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// Stats describe a cache.
type Stats struct {
	Dir     string
	Results int
	Blobs   int
	Packed  int // of Blobs: those that are compressed
	// Size is what the cache takes of the disk, in bytes, and MaxSize what it
	// may take; 0 means that there is no bound.
	Size, MaxSize int64
	// Content is how long the content that Results need is without
	// compression, and Stored what it takes of the disk.
	Content, Stored int64
	Retention       time.Duration
	// Oldest and Newest are when the Results were last used; zero where there
	// are none.
	Oldest, Newest time.Time
	// Inputs is the size of the part of it that remembers digests of files. It
	// does not count for Size.
	Inputs int64
}

// Stats looks at everything that is there, and reads little of it.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st := Stats{Dir: s.o.Dir, MaxSize: s.o.MaxSize, Retention: s.o.Retention}
	v, err := s.survey(ctx)
	if err != nil {
		return st, fmt.Errorf("looking at the cache: %w", err)
	}
	st.Size = v.size() + v.waste()
	for _, p := range v.blobs {
		if p.found {
			st.Blobs++
		}
		if p.packed {
			st.Packed++
		}
		if p.found && p.refs > 0 && p.content > 0 {
			st.Content += p.content
			st.Stored += p.disk
		}
	}
	for _, r := range v.roots {
		if !r.result {
			continue
		}
		st.Results++
		if st.Oldest.IsZero() || r.used.Before(st.Oldest) {
			st.Oldest = r.used
		}
		if r.used.After(st.Newest) {
			st.Newest = r.used
		}
	}
	st.Inputs, err = s.inputsSize(ctx)
	return st, err
}

func (s *Store) inputsSize(ctx context.Context) (size int64, err error) {
	top, err := s.top()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	entries, err := tree.Walk(ctx, top, inputsDir, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		if e.Kind == tree.File {
			info, err := top.Lstat(inputsDir + "/" + e.Path)
			if err == nil {
				size += onDisk(info.Size())
			}
		}
	}
	return size, err
}
