// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	zeebo "github.com/zeebo/blake3"
	lukechampine "lukechampine.com/blake3"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// TestLibrariesAgree compares all ways to one digest, at lengths around which
// they change their minds and at others.
func TestLibrariesAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 8<<20+1)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	lengths := []int{0, 1, 63, 64, 65}
	for n := 1 << 10; n <= 8<<20; n *= 2 {
		lengths = append(lengths, n-1, n, n+1, n+n/2)
	}
	for range 300 {
		lengths = append(lengths, random.IntN(1<<20))
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range lengths {
		if n > len(content) {
			continue
		}
		b := content[:n:n]
		want := digest.New(digest.BLAKE3, lukechampine.Sum256(b))
		read, _, err := digest.Read(bytes.NewReader(b))
		if err2 := f.Truncate(int64(n)); err2 != nil {
			t.Fatal(err2)
		}
		_, err2 := f.WriteAt(b, 0)
		file, err3 := digest.OfFile(t.Context(), f, int64(n))
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]digest.Digest{
			"Of": digest.Of(b), "Read": read, "OfFile": file, "zeebo": digest.New(digest.BLAKE3, zeebo.Sum256(b)),
		} {
			if got != want {
				t.Errorf("%d bytes: %s is %v, want %v", n, name, got, want)
			}
		}
	}
}

func TestOfFileEnds(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{1, 4096, digest.Large, 100<<20 + 5} {
		if err := f.Truncate(size - 1); err != nil {
			t.Fatal(err)
		}
		if _, err := digest.OfFile(t.Context(), f, size); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes less one: %v", size, err)
		}
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := digest.OfFile(ctx, f, digest.Large); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1, digest.Large} {
		if _, err := digest.OfFile(t.Context(), f, size); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a closed file of %d bytes: %v", size, err)
		}
	}
}

// TestOfFileThatIsCutOff hashes a file that others cut off and lengthen all the
// time: it ends with a digest or an error.
func TestOfFileThatIsCutOff(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 16 << 20
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := errors.Join(f.Truncate(size), f.Truncate(4096)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	var cut int
	for range 300 {
		if _, err := digest.OfFile(t.Context(), f, size); errors.Is(err, io.ErrUnexpectedEOF) {
			cut++
		} else if err != nil {
			t.Errorf("got %v", err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	t.Logf("%d of 300 were cut off", cut)
}

// BenchmarkLibraries shows why small content and streams are hashed with one
// library, and large content with the other: run it with -cpu 1,2.
func BenchmarkLibraries(b *testing.B) {
	content := make([]byte, 64<<20)
	for _, n := range []int{100, 1 << 10, 4 << 10, 16 << 10, 256 << 10, 1 << 20, 64 << 20} {
		p := content[:n]
		run := func(name string, sum func()) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					sum()
				}
			})
		}
		var out [digest.Size]byte
		z, l := zeebo.New(), lukechampine.New(digest.Size, nil)
		run("zeebo", func() { z.Reset(); _, _ = z.Write(p); z.Sum(out[:0]) })
		run("lukechampine", func() { l.Reset(); _, _ = l.Write(p); l.Sum(out[:0]) })
		run("Of", func() { digest.Of(p) })
	}
}
