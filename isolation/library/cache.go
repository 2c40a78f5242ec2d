// SPDX-License-Identifier: Apache-2.0

package library

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
)

// The cache of ldconfig, as the GNU C library has it since version 2.2 and writes
// nothing else since 2.32 (sysdeps/generic/dl-cache.h): numbers in the machine's
// own order, names by where they begin in the file.
const (
	cacheMagic  = "glibc-ld.so.cache1.1"
	cacheHeader = 48
	cacheEntry  = 24
	maxCache    = 16 << 20
)

// inCache returns the files that the machine has for a name; nothing where it has
// no cache that can be read, as with other C libraries.
func (f *Finder) inCache(name string) []string {
	if f.cached == nil {
		path := f.Cache
		if path == "" {
			path = cacheFile
		}
		f.cached = map[string][]string{}
		if file, err := os.Open(path); err == nil {
			defer file.Close()
			if data, err := io.ReadAll(io.LimitReader(file, maxCache)); err == nil {
				f.cached = parseCache(data)
			}
		}
	}
	return f.cached[name]
}

// parseCache returns the paths of a cache by name. What does not lie in the file is
// left out.
func parseCache(data []byte) map[string][]string {
	paths := map[string][]string{}
	if len(data) < cacheHeader || !bytes.HasPrefix(data, []byte(cacheMagic)) {
		return paths
	}
	order := binary.NativeEndian
	text := func(at uint32) string {
		if int64(at) >= int64(len(data)) {
			return ""
		}
		s, _, ended := bytes.Cut(data[at:], []byte{0})
		if !ended {
			return ""
		}
		return string(s)
	}
	entries := data[cacheHeader:]
	for range order.Uint32(data[len(cacheMagic):]) {
		if len(entries) < cacheEntry {
			break
		}
		name, path := text(order.Uint32(entries[4:])), text(order.Uint32(entries[8:]))
		if name != "" && path != "" {
			paths[name] = append(paths[name], path)
		}
		entries = entries[cacheEntry:]
	}
	return paths
}
