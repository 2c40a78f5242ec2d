// SPDX-License-Identifier: Apache-2.0

package library

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// written is a cache with pairs of names and paths, as ldconfig writes it.
func written(pairs ...string) []byte {
	order := binary.NativeEndian
	header := append([]byte(cacheMagic), make([]byte, cacheHeader-len(cacheMagic))...)
	order.PutUint32(header[len(cacheMagic):], uint32(len(pairs)/2))
	at := uint32(cacheHeader + len(pairs)/2*cacheEntry)
	var entries, texts []byte
	for i := 0; i+1 < len(pairs); i += 2 {
		entry := make([]byte, cacheEntry)
		order.PutUint32(entry[4:], at)
		order.PutUint32(entry[8:], at+uint32(len(pairs[i]))+1)
		entries = append(entries, entry...)
		texts = append(texts, pairs[i]+"\x00"+pairs[i+1]+"\x00"...)
		at += uint32(len(pairs[i]) + len(pairs[i+1]) + 2)
	}
	return slices.Concat(header, entries, texts)
}

func TestCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(file, written("libz.so.1", "/lib/libz.so.1", "libc.so.6", "/lib/libc.so.6", "libc.so.6", "/lib32/libc.so.6"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := Finder{Cache: file}
	if got := f.inCache("libc.so.6"); !slices.Equal(got, []string{"/lib/libc.so.6", "/lib32/libc.so.6"}) {
		t.Errorf("got %q", got)
	}
	if got := (&Finder{Cache: file + "none"}).inCache("libc.so.6"); len(got) > 0 {
		t.Errorf("of no cache: %q", got)
	}
}

// FuzzCache: nothing that stands in the cache is fatal.
func FuzzCache(f *testing.F) {
	whole := written("a", "/a", "b", "/b")
	for n := range len(whole) {
		f.Add(whole[:n])
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, paths := range parseCache(data) {
			if name == "" || len(paths) == 0 || slices.Contains(paths, "") {
				t.Errorf("%q: %q", name, paths)
			}
		}
	})
}
