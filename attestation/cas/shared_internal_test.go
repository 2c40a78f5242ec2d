// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Few file systems share blocks, so that what comes after it is tried here: of a
// file that holds something else than its owner says, nothing is kept.
func TestSharedContentIsChecked(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d := NewDir(root)
	content := []byte("content")
	is := Blob{digest.Of(content), int64(len(content))}
	keep := func(ctx context.Context, says Blob) (int64, error) {
		t.Helper()
		f, err := d.create()
		if err != nil {
			t.Fatal(err)
		}
		defer f.discard()
		_, err = f.file.Write(content)
		_, err2 := f.file.Seek(0, io.SeekStart)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return d.keepShared(ctx, f, says)
	}
	for name, says := range map[string]Blob{
		"another digest": {digest.Of([]byte("other")), is.Size}, "another size": {is.Digest, is.Size + 1},
	} {
		size, err := keep(t.Context(), says)
		if !errors.Is(err, digest.ErrMismatch) || size != 0 || d.has(is) || d.has(says) {
			t.Errorf("%s: kept in %d bytes; error %v", name, size, err)
		}
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if size, err := keep(ctx, is); !errors.Is(err, enough) || size != 0 || d.has(is) {
		t.Errorf("when it was to end: %d bytes, %v", size, err)
	}
	if size, err := keep(t.Context(), is); err != nil || size == 0 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	r, err := d.Open(t.Context(), is)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %q, %v", got, err)
	}
}
