// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
)

// Verified is what [Store.Verify] found.
type Verified struct {
	Results, Blobs int   // that were looked at
	Bytes          int64 // of content that was read
	Problems       []Problem
}

// Problem is something in the cache that is not as it should be.
type Problem struct {
	// Path is relative to the cache's folder.
	Path string
	// What says what is wrong there.
	What string
	// Key is that of the Result that the problem makes useless; zero where
	// there is none.
	Key digest.Digest
	// Repaired says that what stood at Path has been removed.
	Repaired bool
}

// VerifyOptions say what [Store.Verify] does besides looking.
type VerifyOptions struct {
	// Repair removes damaged content and the Results that need it.
	Repair bool
}

// Verify reads everything that is there and checks it. What it finds is no
// error, and comes ordered by path; the error is that of looking, or of
// repairing.
func (s *Store) Verify(ctx context.Context, o VerifyOptions) (Verified, error) {
	mode := shared
	if o.Repair {
		mode = exclusive
	}
	release, err := s.hold(ctx, mode)
	if errors.Is(err, fs.ErrNotExist) {
		return Verified{}, nil
	}
	if err != nil && o.Repair {
		return Verified{}, fmt.Errorf("repairing the cache: %w", err)
	}
	if err == nil {
		defer release() // who only looks can do without, where nobody may write
	}
	c := &check{store: s, bad: map[digest.Digest]string{}}
	if err := c.look(ctx); err != nil {
		return c.Verified, fmt.Errorf("verifying the cache: %w", err)
	}
	slices.SortFunc(c.Problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	if !o.Repair {
		return c.Verified, nil
	}
	var errs []error
	for i := range c.Problems {
		err := s.repair(c.Problems[i].Path)
		c.Problems[i].Repaired = err == nil
		errs = append(errs, err)
	}
	return c.Verified, errors.Join(errs...)
}

// repair removes what stands at a path relative to the cache's folder.
func (s *Store) repair(p string) error {
	top, err := s.top()
	if err != nil {
		return err
	}
	return top.RemoveAll(p)
}

// check is one look at everything.
type check struct {
	Verified
	store *Store

	mu  sync.Mutex
	bad map[digest.Digest]string // content that cannot be used, and why
}

func (c *check) look(ctx context.Context) error {
	v, err := c.store.survey(ctx)
	if err != nil {
		return err
	}
	if err := c.contents(ctx, v); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := c.documents(v); err != nil {
		return err
	}
	for _, r := range v.roots {
		c.root(r, v)
	}
	return nil
}

// contents reads all blobs.
func (c *check) contents(ctx context.Context, v *survey) error {
	blobs, err := c.store.content()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for f, err := range blobs.Files() {
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		if f.Foreign {
			c.problem(f, "attest has not made it")
			continue
		}
		group.Go(func() error { return c.content(ctx, blobs, f, v.blobs[f.Digest]) })
	}
	return group.Wait()
}

func (c *check) content(ctx context.Context, blobs *cas.Dir, f cas.File, p *part) error {
	b := cas.Blob{Digest: f.Digest}
	var err error
	if p != nil && p.content > 0 {
		b.Size = p.content
	} else {
		b, err = blobs.Stat(f.Digest)
	}
	if err == nil {
		err = blobs.Check(ctx, b)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Blobs++
	c.Bytes += b.Size
	if err != nil && !errors.Is(err, cas.ErrNotFound) {
		c.bad[f.Digest] = "damaged"
		c.Problems = append(c.Problems, Problem{Path: outputsDir + "/" + f.Path, What: err.Error()})
	}
	return nil
}

func (c *check) problem(f cas.File, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Problems = append(c.Problems, Problem{Path: outputsDir + "/" + f.Path, What: what})
}

func (c *check) documents(v *survey) error {
	for key, p := range v.documents {
		if !p.found {
			continue
		}
		if _, err := c.store.Document(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.Problems = append(c.Problems, Problem{Path: metadataDir + "/" + nameOf(key), What: err.Error()})
		}
	}
	return nil
}

// root checks an entry: what it says, and whether what it needs is there.
func (c *check) root(r *root, v *survey) {
	if r.result {
		c.Results++
	}
	what := ""
	switch {
	case r.err != nil:
		what = r.err.Error()
	case r.entry != nil:
		for _, b := range r.entry.blobs() {
			if !v.blob(b.Digest).found {
				what = fmt.Sprintf("it needs %v, which is missing", b.Digest)
			} else if why := c.bad[b.Digest]; why != "" {
				what = fmt.Sprintf("it needs %v, which is %s", b.Digest, why)
			}
		}
	}
	if what != "" {
		c.Problems = append(c.Problems, Problem{Path: r.path(), What: what, Key: r.key})
	}
}
