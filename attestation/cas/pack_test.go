// SPDX-License-Identifier: Apache-2.0

package cas_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/cas"
)

// text can be compressed, to less than a block where it is short.
func text(n int) []byte { return bytes.Repeat([]byte("all work and no play "), n/21+1)[:n] }

// put stores content and returns its name and its path without ".zst".
func put(t *testing.T, d *cas.Dir, dir string, content []byte) (cas.Blob, string) {
	t.Helper()
	b, _, err := d.PutBytes(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	hex := b.Digest.Hex()
	return b, filepath.Join(dir, hex[:2], hex[2:])
}

// disk is what the files of a folder take of the disk, in whole blocks.
func disk(t *testing.T, d *cas.Dir) (size int64) {
	t.Helper()
	for f, err := range d.Files() {
		if err != nil {
			t.Fatal(err)
		}
		size += (f.Info.Size() + 4095) / 4096 * 4096
	}
	return size
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func packedBy(t *testing.T, content []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(content, nil)
}

// TestPack: what pays is compressed, the rest stays as it is and is known for it,
// and what Pack says that it gave back is what the disk has more.
func TestPack(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		pays    bool
	}{
		"text":                     {text(500_000), true},
		"text that never repeats":  {[]byte(base64.StdEncoding.EncodeToString(noise(300_000))), true},
		"text of two blocks":       {text(4097), true},
		"text of a block":          {text(4096), false},
		"noise":                    {noise(500_000), false},
		"noise with a little text": {append(noise(30_000), text(2500)...), false},
		"little text, then noise":  {append(text(1000), noise(11_500)...), false}, // a block less, and no eighth
		"text, then noise":         {append(text(32<<10), noise(300_000)...), true},
		"text, then much noise":    {append(text(4268), bytes.Repeat(noise(2<<20), 100)...), false},
		"noise, then text":         {append(noise(32<<10), text(300_000)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := open(t)
			b, path := put(t, d, dir, c.content)
			if exists(path + ".zst") {
				t.Error("compressed when it was stored")
			}
			before := disk(t, d)
			saved, err := d.Pack(t.Context(), b)
			if err != nil || saved != before-disk(t, d) || c.pays != (saved > 0) {
				t.Errorf("saved %d of %d, left %d, %v", saved, before, disk(t, d), err)
			}
			if exists(path) == c.pays || exists(path+".zst") != c.pays {
				t.Errorf("verbatim %v, packed %v", exists(path), exists(path+".zst"))
			}
			for f, err := range d.Files() {
				if err != nil || f.Packable() || f.Packed != c.pays {
					t.Errorf("%+v, %v", f, err)
				}
			}
			if got, err := copyOut(t, d, b); err != nil || !bytes.Equal(got, c.content) {
				t.Errorf("copied %d bytes, %v", len(got), err)
			}
			if again, err := d.Pack(t.Context(), b); err != nil || again != 0 {
				t.Errorf("again: %d, %v", again, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "tmp-*")); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// TestPackRefusesDamage: what is not what its name says stays as it is.
func TestPackRefusesDamage(t *testing.T) {
	content := text(400_000)
	other := bytes.Clone(content)
	other[350_000]++
	for name, spoilt := range map[string][]byte{
		"other": other, "shorter": content[:len(content)-1], "longer": append(bytes.Clone(content), 'x'), "empty": nil,
	} {
		d, dir := open(t)
		b, path := put(t, d, dir, content)
		writeFile(t, path, spoilt)
		if saved, err := d.Pack(t.Context(), b); saved != 0 || !errors.Is(err, cas.ErrDamaged) {
			t.Errorf("%s: saved %d, %v", name, saved, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, spoilt) {
			t.Errorf("%s: it was changed", name)
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "*")); exists(path+".zst") || len(names) != 1 {
			t.Errorf("%s: left %q", name, names)
		}
	}
}

// TestPackBothForms: a kill may leave both forms, and damage one of them.
func TestPackBothForms(t *testing.T) {
	content := text(400_000)
	other := bytes.Clone(content)
	other[1]++
	right := packedBy(t, content)
	for name, c := range map[string]struct {
		verbatim, packed []byte
		ok               bool
	}{
		"both right":              {content, right, true},
		"packed other":            {content, packedBy(t, other), true},
		"packed cut":              {content, right[:len(right)/2], true},
		"packed empty":            {content, nil, true},
		"packed no zstd":          {content, content[:9000], true},
		"verbatim damaged":        {other, right, true},
		"both damaged":            {other, right[:20], false},
		"both say something else": {other, packedBy(t, other), false},
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := open(t)
			b, path := put(t, d, dir, content)
			writeFile(t, path, c.verbatim)
			writeFile(t, path+".zst", c.packed)
			before := disk(t, d)
			saved, err := d.Pack(t.Context(), b)
			if saved != before-disk(t, d) {
				t.Errorf("saved %d of %d, left %d", saved, before, disk(t, d))
			}
			if !c.ok {
				if !errors.Is(err, cas.ErrDamaged) || !exists(path) || !exists(path+".zst") {
					t.Errorf("got %v, verbatim %v, packed %v", err, exists(path), exists(path+".zst"))
				}
				return
			}
			if err != nil || exists(path) || !exists(path+".zst") {
				t.Errorf("got %v, verbatim %v, packed %v", err, exists(path), exists(path+".zst"))
			}
			if got, err := read(d, b); err != nil || !bytes.Equal(got, content) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestPackReplacesNoFolder: what stands in the way of the compressed form is no
// reason to lose the other.
func TestPackReplacesNoFolder(t *testing.T) {
	d, dir := open(t)
	content := text(400_000)
	b, path := put(t, d, dir, content)
	if err := os.MkdirAll(path+".zst/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if saved, err := d.Pack(t.Context(), b); saved != 0 || !errors.Is(err, cas.ErrDamaged) {
		t.Errorf("saved %d, %v", saved, err)
	}
	if got, err := read(d, b); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// TestPackWhileOthersRead has readers of every kind at work on the content that is
// being compressed: none misses it, and none sees anything else.
func TestPackWhileOthersRead(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	d, dir := open(t)
	var contents [][]byte
	for i := range rounds {
		contents = append(contents, fmt.Append(text(20_000), i))
		put(t, d, dir, contents[i])
	}
	var now atomic.Int64
	var all sync.WaitGroup
	for _, look := range []func(b cas.Blob, content []byte) error{
		func(b cas.Blob, content []byte) error {
			got, err := read(d, b)
			if err == nil && !bytes.Equal(got, content) {
				err = errors.New("read something else")
			}
			return err
		},
		func(b cas.Blob, _ []byte) error { return d.Check(t.Context(), b) },
		func(b cas.Blob, _ []byte) error {
			got, err := d.Stat(b.Digest)
			if err == nil && got != b {
				err = errors.New("another length")
			}
			return err
		},
		func(b cas.Blob, _ []byte) error {
			if !d.Has(b) {
				return errors.New("it has it not")
			}
			return nil
		},
	} {
		all.Go(func() {
			for {
				i := int(now.Load())
				if i >= rounds {
					return
				}
				if err := look(blobOf(contents[i]), contents[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range rounds {
		now.Store(int64(i))
		if saved, err := d.Pack(t.Context(), blobOf(contents[i])); err != nil || saved == 0 {
			t.Errorf("saved %d, %v", saved, err)
		}
	}
	now.Store(int64(rounds))
	all.Wait()
}

// TestPackedAgain: content whose compressed form is there is not stored again.
func TestPackedAgain(t *testing.T) {
	d, dir := open(t)
	content := []byte(strings.Repeat("again ", 20_000))
	b, path := put(t, d, dir, content)
	if _, err := d.Pack(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, size, err := d.PutBytes(t.Context(), content); err != nil || size != 0 || exists(path) {
		t.Errorf("took %d more, %v", size, err)
	}
}
