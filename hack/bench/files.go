// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// fileSize is that of a source file in these measurements.
const fileSize = 4 << 10

// perFolder is how many files a folder has.
const perFolder = 100

// writeFiles writes count files of so many bytes each below dir, all different,
// in folders of perFolder. Some of each file repeats, as in source and programs.
func writeFiles(dir string, count, size int) error {
	var next atomic.Int64
	var group errgroup.Group
	folders := (count + perFolder - 1) / perFolder
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			content := text(size)
			for {
				i := int(next.Add(1)) - 1
				if i >= folders {
					return nil
				}
				folder := filepath.Join(dir, fmt.Sprintf("d%03d", i))
				if err := writeFolder(folder, i*perFolder, min(count, (i+1)*perFolder), content); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func writeFolder(folder string, from, to int, content []byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		binary.LittleEndian.PutUint64(content, uint64(i))
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%05d.txt", i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// text returns content that zstd makes about half as large.
func text(size int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	content := make([]byte, 0, size+16)
	for len(content) < size {
		content = fmt.Appendf(content, "value%04x = ", r.Uint32N(1<<16))
		content = binary.LittleEndian.AppendUint64(content, r.Uint64())
	}
	return content[:size]
}

// writeLarge writes a file of so many bytes, no block of it like another.
func writeLarge(name string, size int64) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := text(1 << 20)
	w := bufio.NewWriterSize(f, 4<<20)
	for n := uint64(0); size > 0; n++ {
		for at := 0; at < len(block); at += 4 << 10 {
			binary.LittleEndian.PutUint64(block[at:], n)
		}
		part := block[:min(size, int64(len(block)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		size -= int64(len(part))
	}
	return w.Flush()
}

// writeTexts writes files with the given content below dir.
func writeTexts(dir string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
