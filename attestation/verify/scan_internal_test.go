// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// A verification that is to end says so, not that files differ, and looks at no
// further ones: a receipt may name a million that are not there.
func TestEndsAmongFiles(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	file := receipt.Path{Path: "a", Mode: "0644", Hash: digest.Of(nil)}
	if _, err := scan(ctx, root, []claim{{Path: file}}); !errors.Is(err, enough) {
		t.Errorf("looking goes on: %v", err)
	}
	r := &receipt.Receipt{Steps: []receipt.Step{{Inputs: []receipt.Path{file}}}}
	if failed, err := checkFiles(ctx, root, r); failed != nil || !errors.Is(err, enough) {
		t.Errorf("got %+v, %v", failed, err)
	}
}

// A file that cannot be read is no file with another content.
func TestUnreadable(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, sha256 := range map[string]map[string]bool{"one digest": {}, "two digests": {"gone": true}} {
		s := scanner{root: root, entries: map[string]tree.Entry{"gone": {Path: "gone", Kind: tree.File}}, sha256: sha256}
		if got, err := s.hash(t.Context()); !errors.Is(err, fs.ErrNotExist) || got.Len() > 0 {
			t.Errorf("%s: %d entries, %v", name, got.Len(), err)
		}
	}
	long := receipt.Path{Path: strings.Repeat("a", 300), Mode: "0644", Hash: digest.Of(nil)}
	r := &receipt.Receipt{Steps: []receipt.Step{{Inputs: []receipt.Path{long}}}}
	failed, err := checkFiles(t.Context(), root, r)
	if err != nil || failed == nil || failed.err == nil || len(failed.differences) > 0 {
		t.Errorf("a name that no file has: %+v, %v", failed, err)
	}
}
