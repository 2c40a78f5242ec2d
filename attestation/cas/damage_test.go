// SPDX-License-Identifier: Apache-2.0

package cas_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/attest-pipeline/attest/attestation/cas"
)

// TestDamageIsReplaced stores content where something else has its name: what can be
// told without reading makes way.
func TestDamageIsReplaced(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 2000)
	b := blobOf(content)
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, content, 0o600); err != nil {
		t.Fatal(err)
	}
	hex := b.Digest.Hex()
	write := func(suffix string, content []byte) func(dir string) error {
		return func(dir string) error {
			return os.WriteFile(filepath.Join(dir, hex[:2], hex[2:]+suffix), content, 0o600)
		}
	}
	for name, spoil := range map[string]func(dir string) error{
		"shorter": write("", content[:len(content)-1]), "longer": write("", append(bytes.Clone(content), 'x')), "empty": write("", nil),
		"packed empty": write(".zst", nil),
		"a folder":     func(dir string) error { return os.Mkdir(filepath.Join(dir, hex[:2], hex[2:]), 0o700) },
	} {
		for _, compress := range []bool{false, true} {
			for way, put := range map[string]func(*cas.Dir) (int64, error){
				"PutBytes": func(d *cas.Dir) (int64, error) { _, size, err := d.PutBytes(t.Context(), content); return size, err },
				"PutFile": func(d *cas.Dir) (int64, error) {
					f, err := os.Open(src)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					return d.PutFile(t.Context(), f, b)
				},
			} {
				d, dir := open(t)
				if err := errors.Join(os.Mkdir(filepath.Join(dir, hex[:2]), 0o700), spoil(dir)); err != nil {
					t.Fatal(err)
				}
				if d.Has(b) {
					t.Errorf("%s, compressing %v: it is there", name, compress)
				}
				if size, err := put(d); err != nil || size == 0 {
					t.Errorf("%s, compressing %v, %s: %d bytes, %v", name, compress, way, size, err)
				}
				if compress {
					if saved, err := d.Pack(t.Context(), b); err != nil || saved == 0 {
						t.Errorf("%s, %s: compressing saved %d bytes, %v", name, way, saved, err)
					}
				}
				if got, err := read(d, b); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, compressing %v, %s: %d bytes, %v", name, compress, way, len(got), err)
				}
			}
		}
	}
}

// failsOnce is content whose reading fails when after bytes were read, and then
// goes on as if nothing had been.
type failsOnce struct {
	io.Reader
	after  int
	why    error
	failed bool
}

func (f *failsOnce) Read(p []byte) (int, error) {
	if f.after == 0 && !f.failed {
		f.failed = true
		return 0, f.why
	}
	if !f.failed {
		p = p[:min(len(p), f.after)]
	}
	n, err := f.Reader.Read(p)
	f.after -= n
	return n, err
}

// TestHalfRead stores nothing of what could not be read to its end.
func TestHalfRead(t *testing.T) {
	for _, why := range []error{io.ErrClosedPipe, io.ErrUnexpectedEOF} {
		for _, after := range []int{0, 100, 256 << 10, 300_000} {
			d, dir := open(t)
			b, err := d.Put(t.Context(), &failsOnce{Reader: bytes.NewReader(noise(400_000)), after: after, why: why})
			if !errors.Is(err, why) || b != (cas.Blob{}) {
				t.Errorf("after %d bytes: %+v, %v", after, b, err)
			}
			if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
				t.Errorf("after %d bytes: left %q", after, names)
			}
		}
	}
}
