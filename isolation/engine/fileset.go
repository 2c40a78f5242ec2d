// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// fileset is a set of the project's files: known by how they look, and by what
// follows from that where they looked so before. Their digests are worked out
// when somebody needs them; in a run that finds nothing to do nobody does.
// A fileset belongs to one walk and is not safe for concurrent use.
type fileset struct {
	files *files
	view  statcache.View

	summary statcache.Summary
	known   bool // summary is right, its cover aside

	tree tree.Tree
	read bool // tree is there
}

// look makes a fileset of what was found. name says whose files they are.
func (f *files) look(name string, found tree.Found) (*fileset, error) {
	view, err := f.digests.View(name, found)
	if err != nil {
		return nil, err
	}
	s := &fileset{files: f, view: view}
	s.summary, s.known = f.digests.Summary(view)
	return s, nil
}

// errLooksAlike says that files were changed between two looks of one run.
var errLooksAlike = errors.New("files changed while they were read")

// Tree returns the files with their digests.
func (s *fileset) Tree(ctx context.Context) (tree.Tree, error) {
	if s.read {
		return s.tree, nil
	}
	if err := s.files.digests.Sum(ctx, s.view.Found); err != nil {
		return tree.Tree{}, err
	}
	t, err := tree.New(s.view.Found.Entries)
	if err != nil {
		return tree.Tree{}, err
	}
	if s.known && !s.summary.Tree.IsZero() && t.Digest() != s.summary.Tree {
		return tree.Tree{}, errLooksAlike
	}
	s.tree, s.read = s.files.share(t), true
	return s.tree, nil
}

// Digest returns the digest of the files' tree. Unless that is known, somebody
// has asked for the Tree before.
func (s *fileset) Digest() digest.Digest {
	if !s.known {
		s.summary.Tree = s.tree.Digest()
	}
	return s.summary.Tree
}

// fill sets the digests of what was found, from memory where it has them.
func (s *fileset) fill(ctx context.Context) error {
	if s.known && s.summary.Fill(s.view.Found) {
		return nil
	}
	s.known = false
	return s.files.digests.Sum(ctx, s.view.Found)
}

// confirm says that t is those of the files that are a step's outputs.
func (s *fileset) confirm(t tree.Tree) {
	which := t.Digest()
	if s.known && s.summary.Tree == which {
		return
	}
	s.known, s.summary.Tree = false, which
	s.summary.Digests = make([]digest.Digest, s.view.Found.Len())
	for i, e := range s.view.Found.Entries {
		if e.Kind == tree.File {
			s.summary.Digests[i] = e.Digest
		}
	}
}

// covering is what a receipt says of a fileset, and what goes into it.
type covering struct {
	folders *folders
	now     func() statcache.Moment // before a folder was listed
}

// cover returns how a receipt names the files, given a way to get at their tree.
// What had to be worked out is kept for the next run.
func (c covering) cover(s *fileset, files func() (tree.Tree, error), cover coverFunc) ([]receipt.Path, error) {
	if s.known && s.files.digests.Covered(s.summary) {
		return s.summary.Cover, nil
	}
	t, err := files()
	if err != nil {
		return nil, err
	}
	if t.Len() == 0 {
		return nil, nil
	}
	moment := c.now()
	listed := []tree.Folder{}
	paths, err := cover(t, func(dir string) ([]string, error) {
		listed = append(listed, tree.Folder{Path: dir})
		return c.folders.list(dir)
	})
	if err != nil {
		return nil, err
	}
	s.summary.Cover, s.summary.Folders = paths, listed
	s.files.digests.Summarise(s.view, s.summary, moment)
	return paths, nil
}

// coverFunc is [receipt.Cover] or [receipt.CoverOutputs].
type coverFunc func(tree.Tree, func(dir string) ([]string, error)) ([]receipt.Path, error)

// nameOf names one side of a step in what is remembered.
func (w *walk) nameOf(side string) string {
	return fmt.Sprintf("%s\x00%s\x00%s", w.run.PipelineFile, w.step.Name, side)
}
