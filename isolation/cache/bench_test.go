// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/cache"
)

// load is a folder of outputs: count files of size bytes each, 100 to a folder.
func load(tb testing.TB, dir string, count, size int, text bool) {
	tb.Helper()
	r := rand.NewChaCha8([32]byte{7})
	content := make([]byte, size)
	words := []string{"function ", "return ", "const ", "import ", "export ", "(a, b) ", "=> ", "{\n", "}\n", "// comment "}
	for i := range count {
		_, _ = r.Read(content)
		if text {
			content = content[:0]
			for len(content) < size {
				content = append(content, words[r.Uint64()%uint64(len(words))]...)
			}
			content = content[:size]
		}
		folder := filepath.Join(dir, fmt.Sprint("dir", i/100))
		if i%100 == 0 {
			if err := os.Mkdir(folder, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint("file", i)), content, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkRestore compares restoring 1 GB in 10,000 files with cp -r of the
// same files, one after the other in the same run. ratio is ours to cp's; pack-ms
// is what compressing took, where nobody had used the files for two days.
func BenchmarkRestore(b *testing.B) {
	for _, form := range []struct {
		name string
		text bool
		old  bool
	}{{"verbatim", true, false}, {"old and incompressible", false, true}, {"old", true, true}} {
		b.Run(form.name, func(b *testing.B) {
			c := newClock()
			w := newBenchWorld(b, cache.Options{Compress: true, Now: c.now})
			dir := b.TempDir()
			load(b, dir, 10_000, 100_000, form.text)
			r, from := resultOf(b, "build", dir)
			started := time.Now()
			if err := w.Put(b.Context(), r, from); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(started).Milliseconds()), "put-ms")
			if form.old {
				c.forward(48 * time.Hour)
				started = time.Now()
				if _, err := w.GC(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(started).Milliseconds()), "pack-ms")
			}
			var ours, theirs []time.Duration
			for b.Loop() {
				theirs = append(theirs, copyTree(b, dir))
				ours = append(ours, w.timeRestore(b, r))
			}
			b.ReportMetric(float64(median(ours).Milliseconds()), "restore-ms")
			b.ReportMetric(float64(median(theirs).Milliseconds()), "cp-ms")
			b.ReportMetric(float64(median(ours))/float64(median(theirs)), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func newBenchWorld(b *testing.B, o cache.Options) *world {
	b.Helper()
	o.Dir = filepath.Join(b.TempDir(), "cache")
	s, err := cache.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return &world{dir: o.Dir, Store: s}
}

func copyTree(b *testing.B, dir string) time.Duration {
	b.Helper()
	to := filepath.Join(b.TempDir(), "copy")
	started := time.Now()
	if err := exec.Command("cp", "-r", dir, to).Run(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(started)
	clean(b, to)
	return took
}

// clean removes a copy, so that no disk fills up.
func clean(b *testing.B, dir string) {
	b.Helper()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}

func (w *world) timeRestore(b *testing.B, r cache.Result) time.Duration {
	b.Helper()
	dir := b.TempDir()
	into, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer into.Close()
	started := time.Now()
	e, err := w.Get(b.Context(), r.Key)
	if err == nil {
		err = w.Restore(b.Context(), e, into)
	}
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(started)
	clean(b, dir)
	return took
}

// BenchmarkGet is what each step of a cached run costs here.
func BenchmarkGet(b *testing.B) {
	w := newBenchWorld(b, cache.Options{})
	var all []cache.Result
	for i := range 1000 {
		dir := b.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "out"), fmt.Append(nil, i), 0o644); err != nil {
			b.Fatal(err)
		}
		r, from := resultOf(b, fmt.Sprint("step", i), dir)
		if err := w.Put(b.Context(), r, from); err != nil {
			b.Fatal(err)
		}
		all = append(all, r)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := w.Get(b.Context(), all[i%len(all)].Key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut is what each step of an uncached run that leaves one small file
// costs here.
func BenchmarkPut(b *testing.B) {
	w := newBenchWorld(b, cache.Options{MaxSize: 10 << 30})
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "out"), []byte("same"), 0o644); err != nil {
		b.Fatal(err)
	}
	var all []cache.Result
	for i := range 5000 {
		r, _ := resultOf(b, fmt.Sprint("step", i), dir)
		all = append(all, r)
	}
	from, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	for i := 0; b.Loop(); i++ {
		if err := w.Put(b.Context(), all[i%len(all)], from); err != nil {
			b.Fatal(err)
		}
	}
}
