// SPDX-License-Identifier: Apache-2.0

package cas_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
)

func open(t *testing.T) (*cas.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return cas.NewDir(root), dir
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{3})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func blobOf(content []byte) cas.Blob {
	return cas.Blob{Digest: digest.Of(content), Size: int64(len(content))}
}

// contents are of every length at which something changes.
func contents() map[string][]byte {
	all := map[string][]byte{"nothing": nil, "a byte": {'x'}}
	for name, n := range map[string]int{"a block": 4096, "a block and more": 4097, "a buffer": 256 << 10, "a buffer and more": 256<<10 + 1, "three": 700_001} {
		all["noise of "+name] = noise(n)
		all["text of "+name] = bytes.Repeat([]byte("all work and no play "), n/21+1)[:n]
	}
	return all
}

func read(d *cas.Dir, b cas.Blob) ([]byte, error) {
	r, err := d.Open(context.Background(), b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func copyOut(t *testing.T, d *cas.Dir, b cas.Blob) ([]byte, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.CopyTo(t.Context(), b, f); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Name())
}

func TestWhatGoesInComesOut(t *testing.T) {
	for _, compress := range []bool{false, true} {
		d, dir := open(t)
		for name, content := range contents() {
			file := filepath.Join(t.TempDir(), "in")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			want := blobOf(content)
			for how, put := range map[string]func() error{
				"a reader": func() error {
					got, err := d.Put(t.Context(), iotest.OneByteReader(bytes.NewReader(content)))
					if err == nil && got != want {
						err = errors.New("another name")
					}
					return err
				},
				"bytes": func() error { _, _, err := d.PutBytes(t.Context(), content); return err },
				"a file": func() error {
					f, err := os.Open(file)
					if err != nil {
						return err
					}
					defer f.Close()
					size, err := d.PutFile(t.Context(), f, want)
					again, _ := d.PutFile(t.Context(), f, want)
					if err == nil && (again != 0 || size == 0 && len(content) > 0) {
						err = errors.New("wrong size on disk")
					}
					return err
				},
			} {
				if err := d.Remove(want.Digest); err != nil {
					t.Fatal(err)
				}
				if d.Has(want) {
					t.Fatalf("%s is there", name)
				}
				if err := put(); err != nil {
					t.Errorf("%s from %s: %v", name, how, err)
					continue
				}
				if compress && len(content) > 0 {
					if _, err := d.Pack(t.Context(), want); err != nil {
						t.Errorf("packing %s from %s: %v", name, how, err)
					}
				}
				if !d.Has(want) {
					t.Errorf("%s is not there", name)
				}
				if b, err := d.Stat(want.Digest); err != nil || b != want {
					t.Errorf("%s from %s is %v, %v", name, how, b, err)
				}
				if got, err := read(d, want); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s from %s: read %d bytes, %v", name, how, len(got), err)
				}
				if got, err := copyOut(t, d, want); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s from %s: copied %d bytes, %v", name, how, len(got), err)
				}
				if err := d.Check(t.Context(), want); err != nil {
					t.Errorf("%s from %s: %v", name, how, err)
				}
			}
		}
		packed, _ := filepath.Glob(filepath.Join(dir, "*", "*.zst"))
		if compress != (len(packed) > 0) {
			t.Errorf("%d files are compressed", len(packed))
		}
		count := 0
		for f, err := range d.Files() {
			if err != nil || f.Foreign {
				t.Errorf("%+v, %v", f, err)
			}
			count++
		}
		if count != len(contents()) {
			t.Errorf("%d files", count)
		}
	}
}

func TestNotFound(t *testing.T) {
	d, _ := open(t)
	for _, b := range []cas.Blob{{}, blobOf([]byte("x")), {Digest: digest.OfSHA256([]byte("x")), Size: 1}} {
		if _, err := read(d, b); !errors.Is(err, cas.ErrNotFound) {
			t.Errorf("Open: %v", err)
		}
		if err := d.Check(t.Context(), b); !errors.Is(err, cas.ErrNotFound) {
			t.Errorf("Check: %v", err)
		}
		if _, err := d.Stat(b.Digest); !errors.Is(err, cas.ErrNotFound) {
			t.Errorf("Stat: %v", err)
		}
		if _, err := d.Pack(t.Context(), b); !errors.Is(err, cas.ErrNotFound) {
			t.Errorf("Pack: %v", err)
		}
	}
}

// TestNeverAnythingElse puts other bytes in a blob's place: all ways to read it
// say so, and do not hand out more than was asked for.
func TestNeverAnythingElse(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 2000)
	b := blobOf(content)
	pack := func(content []byte) []byte {
		enc, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return enc.EncodeAll(content, nil)
	}
	other := bytes.Clone(content)
	other[9000]++
	for name, spoilt := range map[string]struct {
		suffix string
		bytes  []byte
	}{
		"other":             {"", other},
		"shorter":           {"", content[:len(content)-1]},
		"longer":            {"", append(bytes.Clone(content), 'x')},
		"empty":             {"", nil},
		"packed other":      {".zst", pack(other)},
		"packed shorter":    {".zst", pack(content[:len(content)-1])},
		"packed longer":     {".zst", pack(append(bytes.Clone(content), 'x'))},
		"packed twice":      {".zst", append(pack(content), pack(content)...)},
		"packed bomb":       {".zst", pack(make([]byte, 64<<20))},
		"packed cut":        {".zst", pack(content)[:20]},
		"packed and rubish": {".zst", append(pack(content), "rubbish"...)},
		"not packed":        {".zst", content},
		"packed empty":      {".zst", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := open(t)
			hex := b.Digest.Hex()
			path := filepath.Join(dir, hex[:2], hex[2:]+spoilt.suffix)
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, spoilt.bytes, 0o600)); err != nil {
				t.Fatal(err)
			}
			got, err := read(d, b)
			if !errors.Is(err, cas.ErrDamaged) || int64(len(got)) > b.Size {
				t.Errorf("Open: %d bytes, %v", len(got), err)
			}
			if _, err := copyOut(t, d, b); !errors.Is(err, cas.ErrDamaged) {
				t.Errorf("CopyTo: %v", err)
			}
			if err := d.Check(t.Context(), b); !errors.Is(err, cas.ErrDamaged) {
				t.Errorf("Check: %v", err)
			}
			if err := d.Remove(b.Digest); err != nil {
				t.Fatal(err)
			}
			if _, _, err := d.PutBytes(t.Context(), content); err != nil {
				t.Fatal(err)
			}
			if got, err := read(d, b); err != nil || !bytes.Equal(got, content) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestStatOfWhatDoesNotSay: content that was compressed elsewhere may not say how
// long it is, or no length that there is.
func TestStatOfWhatDoesNotSay(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 2000)
	var stream bytes.Buffer
	enc, err := zstd.NewWriter(&stream)
	if err != nil {
		t.Fatal(err)
	}
	_, err = enc.Write(content)
	if err := errors.Join(err, enc.Flush(), enc.Close()); err != nil { // what is flushed had no known end
		t.Fatal(err)
	}
	// RFC 8878, sections 3.1.1 and 3.1.1.1: magic number, a single segment with a length of eight bytes.
	huge := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, bytes.Repeat([]byte{0xff}, 8)...)
	for name, packed := range map[string][]byte{"no length": stream.Bytes(), "a length beyond all files": huge} {
		d, dir := open(t)
		b := blobOf(content)
		hex := b.Digest.Hex()
		path := filepath.Join(dir, hex[:2], hex[2:]+".zst")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, packed, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Stat(b.Digest); !errors.Is(err, cas.ErrDamaged) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestPutFileChecks has the caller be wrong about a file.
func TestPutFileChecks(t *testing.T) {
	d, dir := open(t)
	f, err := os.Open("dir_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, b := range []cas.Blob{blobOf([]byte("another")), blobOf(noise(9000)), {Digest: digest.Of(nil), Size: 0}} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := d.PutFile(t.Context(), f, b); !errors.Is(err, digest.ErrMismatch) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := d.Put(t.Context(), iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
		t.Errorf("left %q", names)
	}
}

// TestWriteError makes sure that the store is not blamed for a bad destination.
func TestWriteError(t *testing.T) {
	d, _ := open(t)
	b, _, err := d.PutBytes(t.Context(), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var outside *cas.WriteError
	if err := d.CopyTo(t.Context(), b, f); !errors.As(err, &outside) {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	d, _ := open(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, content := range contents() {
				if _, _, err := d.PutBytes(t.Context(), content); err != nil {
					t.Error(err)
				}
				if _, err := d.Pack(t.Context(), blobOf(content)); err != nil {
					t.Error(err)
				}
				if got, err := read(d, blobOf(content)); err != nil || !bytes.Equal(got, content) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestEndedContext(t *testing.T) {
	d, _ := open(t)
	b, _, err := d.PutBytes(t.Context(), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := d.Open(ctx, b); !errors.Is(err, why) {
		t.Errorf("Open: %v", err)
	}
	if err := d.Check(ctx, b); !errors.Is(err, why) {
		t.Errorf("Check: %v", err)
	}
	if _, err := d.Pack(ctx, b); !errors.Is(err, why) {
		t.Errorf("Pack: %v", err)
	}
	if _, err := d.Put(ctx, bytes.NewReader(noise(600_000))); !errors.Is(err, why) {
		t.Errorf("Put: %v", err)
	}
}

func TestFilesNamesWhatIsForeign(t *testing.T) {
	d, dir := open(t)
	if _, _, err := d.PutBytes(t.Context(), []byte("content")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README", "zz/x", "00/short", "00/" + strings.Repeat("A", 62), "tmp-1"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	foreign := map[string]bool{}
	for f, err := range d.Files() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Foreign {
			foreign[f.Path] = true
		}
	}
	if len(foreign) != 4 || !foreign["README"] || !foreign["zz"] || !foreign["00/short"] {
		t.Errorf("foreign are %v", foreign)
	}
	if err := d.RemoveTemporary(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp-1")); err == nil {
		t.Error("a temporary file is still there")
	}
}
