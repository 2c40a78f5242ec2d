// SPDX-License-Identifier: Apache-2.0

package intoto

//lint:file-ignore SA1019 see intoto.go.

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/common"
	slsa "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// subjects names what the steps left: every file; where those are too many,
// the entries of the receipt, folders by their listings; and where even those
// are, or where nothing was left that has content, the receipt, which names all.
func (f Facts) subjects(steps []receipt.Step) ([]slsa.ResourceDescriptor, error) {
	var files, entries []slsa.ResourceDescriptor
	for _, s := range steps {
		left := f.Outputs[s.Name]
		for _, p := range s.Outputs {
			if err := sameAsReceipt(left, p); err != nil {
				return nil, fmt.Errorf("step %q: %w", s.Name, err)
			}
			if p.Mode == receipt.ModeSymlink {
				continue // names another file, and has no content of its own
			}
			entry := descriptor(p.Path, p.Hash, p.SHA256)
			entries = append(entries, entry)
			below, ok := filesBelow(left, p.Path)
			if !ok {
				files = append(files, entry)
			}
			files = append(files, below...)
		}
	}
	switch {
	case len(files) > 0 && len(files) <= MaxSubjects:
		return files, nil
	case len(entries) > 0 && len(entries) <= MaxSubjects:
		return entries, nil
	default:
		return []slsa.ResourceDescriptor{f.receipt()}, nil
	}
}

// sameAsReceipt keeps a statement from saying what the receipt does not.
func sameAsReceipt(left tree.Tree, p receipt.Path) error {
	if folder, ok := strings.CutSuffix(p.Path, "/"); ok {
		if got := left.Below(folder).Digest(); got != p.Hash {
			return fmt.Errorf("output %s is %s in the receipt and %s on disk", p.Path, p.Hash, got)
		}
		return nil
	}
	e, ok := left.Find(p.Path)
	if !ok || e.Digest != p.Hash || e.SHA256 != p.SHA256 || receipt.ModeOf(e) != p.Mode {
		return fmt.Errorf("output %s is not on disk what it is in the receipt", p.Path)
	}
	return nil
}

// filesBelow names every file of a folder; not ok where p is no folder, or where
// the folder itself must be named, because JSON cannot hold a name in it or it
// holds nothing but links and folders.
func filesBelow(left tree.Tree, p string) (files []slsa.ResourceDescriptor, ok bool) {
	if !strings.HasSuffix(p, "/") {
		return nil, false
	}
	for _, e := range left.Below(p).Entries() {
		if !utf8.ValidString(e.Path) || e.Kind == tree.File && e.SHA256.IsZero() {
			return nil, false
		}
		if e.Kind == tree.File {
			files = append(files, descriptor(p+e.Path, e.Digest, e.SHA256))
		}
	}
	return files, len(files) > 0
}

func (f Facts) receipt() slsa.ResourceDescriptor {
	return descriptor(f.ReceiptName, digest.Of(f.ReceiptBytes), digest.OfSHA256(f.ReceiptBytes))
}

// descriptor names content by all of the digests that are not zero.
func descriptor(name string, digests ...digest.Digest) slsa.ResourceDescriptor {
	set := common.DigestSet{}
	for _, d := range digests {
		if !d.IsZero() {
			set[d.Algorithm().String()] = d.Hex()
		}
	}
	return slsa.ResourceDescriptor{Name: name, Digest: set}
}
