// SPDX-License-Identifier: Apache-2.0

package reproduce_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/reproduce"
)

var (
	began  = time.Date(2026, 11, 27, 10, 42, 37, 0, time.UTC)
	second = began.Add(2 * time.Second)
	booted = began.Add(-16070 * time.Second)
	worlds = [2]reproduce.World{
		{Hostnames: []string{"first-host", "attest"}, Paths: []string{"/home/me/project", "/tmp/a"}, CPUs: 4, Began: began, Ended: began.Add(time.Second), Booted: booted},
		{Hostnames: []string{"elsewhere"}, Paths: []string{"/var/again/2", "/tmp/b"}, CPUs: 1, Umask: 0o77, Began: second, Ended: second.Add(time.Second), Booted: booted},
	}
)

// side makes a folder of files.
func side(t *testing.T, files map[string]string, w reproduce.World) reproduce.Side {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return scan(t, dir, w)
}

func scan(t *testing.T, dir string, w reproduce.World) reproduce.Side {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	found, err := (tree.Hasher{}).Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return reproduce.Side{Root: root, Files: found, World: w}
}

// differences compares two folders.
func differences(t *testing.T, a, b map[string]string) []reproduce.Difference {
	t.Helper()
	all, err := reproduce.Compare(t.Context(), side(t, a, worlds[0]), side(t, b, worlds[1]))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func brief(all []reproduce.Difference) string {
	var words []string
	for _, d := range all {
		words = append(words, fmt.Sprintf("%s|%s|%d|%s", d.Path, d.Inside, d.Offset, d.Cause))
	}
	return strings.Join(words, " ")
}

func TestTexts(t *testing.T) {
	for _, tt := range []struct{ name, a, b, want string }{
		{"the same", "x", "x", ""},
		{"a date", "built Fri Nov 27 10:42:37 UTC 2026\n", "built Fri Nov 27 10:42:39 UTC 2026\n", "25|timestamp"},
		{"an ISO date", "x = \"2026-11-27T10:42:37.123+01:00\"", "x = \"2026-11-27T10:42:39.5Z\"", "24|timestamp"},
		{"a day", "v2026.11.27", "v2026.11.28", "11|timestamp"},
		{"seconds", "t=1795776157", "t=1795776159", "12|timestamp"},
		{"nanoseconds", "t=1795776157123456789", "t=1795776159123456789", "12|timestamp"},
		{"no seconds", "t=1879311712", "t=1721723009", "4|random"},
		{"how long", "ok in 0.35s\n", "ok in 12ms\n", "7|timestamp"},
		{"a path", "src: /home/me/project/a.c\nx\n", "src: /var/again/2/a.c\nx\n", "7|path"},
		{"a folder for temporary files", "/tmp/a/x", "/tmp/b/x", "6|path"},
		{"a host", "by root@first-host\n", "by root@elsewhere\n", "9|hostname"},
		{"a host by its other name", "127.0.0.1 localhost attest\n", "127.0.0.1 localhost elsewhere\n", "21|hostname"},
		{"a time beside a host's name", "attest 10:42:37\n", "attest 10:42:39\n", "15|timestamp"},
		{"host and time", "uname first-host 10:42:37\n", "uname elsewhere 10:42:39\n", "7|hostname 7|timestamp"},
		{"processors", "make -j4\n", "make -j1\n", "8|random"}, // a number in a word
		{"processors alone", "jobs: 4 of 44\n", "jobs: 1 of 44\n", "7|cpu-count"},
		{"a random number", "n=17923\n", "n=4420\n", "3|random"},
		{"a UUID", "id 0a0d7a5e-7bd1-4f3c-8b4f-6a6d1e0f1c11", "id 7c0d7a5e-1bd1-4f3c-8b4f-6a6d1e0f1c99", "4|random"},
		{"a temporary name", "tmp.Xa0bCdEfGh", "tmp.QwErTyUiOp", "5|random"},
		{"an address", "<object at 0x7f3a5c>", "<object at 0x7f1b2d>", "16|random"},
		{"lines in another order", "a\nb\nc\n", "a\nc\nb\n", "3|order"},
		{"words in another order", "{'x', 'y', 'z'}", "{'z', 'x', 'y'}", "3|order"},
		{"order beside the numbers of processors", "2 4 3 1\n", "1 2 3 4\n", "1|order"},
		{"a set beside the number of processors", "{1: 4} {'x', 'y', 'z'}", "{1: 4} {'z', 'x', 'y'}", "10|order"},
		{"seconds and their fraction", "t=1795776157.062628485", "t=1795776159.176467949", "12|timestamp"},
		{"a time beside a random number", "made 10:42:37 as 8f3a9c01\n", "made 10:42:39 as 17bc0e44\n", "13|timestamp 13|random"},
		{"seconds of a minute", "37\n", "39\n", "2|timestamp"},
		{"not the seconds of this minute", "27\n", "19\n", "1|random"},
		{"a umask", "0022\n", "0077\n", "3|umask"},
		{"permissions", "-rw-r--r-- 1 me me 4 n\n", "-rw------- 1 me me 4 n\n", "5|umask"},
		{"links of a folder", "drwxr-xr-x 4 me me 60 d\n", "drwxr-xr-x 1 me me 60 d\n", "12|links"},
		{"links of a folder, and a umask", "drwxr-xr-x 4 me me 60 d\n", "drwx------ 1 me me 60 d\n", "5|links 5|umask"},
		{"links of a folder, and processors", "drwxr-xr-x 4 me me 60 d\njobs: 4\n", "drwxr-xr-x 2 me me 60 d\njobs: 1\n", "12|links 12|cpu-count"},
		{"base64 of a date", "at: RnJpIE5vdiAyNyAxMDo0MjozNyBVVEMgMjAyNgo=\n", "at: RnJpIE5vdiAyNyAxMDo0MjozOSBVVEMgMjAyNgo=\n", "29|timestamp"},
		{"base64 of seconds", "at: MTc5NTc3NjE1Nwo=\n", "at: MTc5NTc3NjE1OQo=\n", "17|timestamp"},
		{"base64 of other numbers", "at: MTg3OTMxMTcxMgo=\n", "at: MTcyMTcyMzAwOQo=\n", "7|unknown"},
		{"how long the machine has been up", "16070.06 12149.09\n", "16072.17 12152.88\n", "5|timestamp 5|random"},
		{"since boot in nanoseconds", "at=16070022270055", "at=16072117233245", "8|timestamp"},
		{"seconds with a fraction", "1795776157.0558465\n", "1795776159.1293902\n", "10|timestamp"},
		{"numbers in another order", "3\n4\n1\n2\n", "1\n3\n2\n4\n", "1|order"}, // among them those of processors
		{"load", "3.14 3.76 3.14 1/162 7\n", "3.14 3.76 3.14 1/162 1002\n", "22|random"},
		{"columns", "MemFree:       13660152 kB\nBuffers:        998 kB\n", "MemFree:        3679512 kB\nBuffers:       1002 kB\n", "16|random"},
		{"words alone", "good", "evil", "1|unknown"},
		{"more", "a", "ab", "2|unknown"},
		{"nothing", "", "abc def", "1|unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var words []string
			for _, d := range differences(t, map[string]string{"f": tt.a}, map[string]string{"f": tt.b}) {
				words = append(words, fmt.Sprintf("%d|%s", d.Offset, d.Cause))
			}
			if got := strings.Join(words, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFractions: of a step that was quick, fractions of a second are told from
// random numbers.
func TestFractions(t *testing.T) {
	quick := worlds
	for i := range quick {
		quick[i].Began = quick[i].Began.Add(980 * time.Millisecond)
		quick[i].Ended = quick[i].Began.Add(50 * time.Millisecond)
	}
	slow := quick
	for i := range slow {
		slow[i].Ended = slow[i].Began.Add(400 * time.Millisecond)
	}
	for _, tt := range []struct{ name, a, b, want string }{
		{"slow, nanoseconds", "082555909\n", "301482739\n", "timestamp"},
		{"slow, microseconds", "n=082555", "n=301482", "random"},
		{"slow, microseconds that say so", "{\"usec\": 082555}", "{\"usec\": 301482}", "timestamp"},
		{"slow, milliseconds that say so", "ms=82\n", "ms=301\n", "timestamp"},
		{"slow, a word that ends so", "items=82\n", "items=301\n", "random"},
		{"nanoseconds", "982555909\n", "001482739\n", "timestamp"},
		{"microseconds", "n=982555", "n=001482", "timestamp"},
		{"milliseconds", "{\"ms\": 982}", "{\"ms\": 001}", "timestamp"},
		{"the second in which it began", "37\n", "39\n", "timestamp"},
		{"the second in which it ended", "38\n", "40\n", "timestamp"},
		{"nanoseconds of another moment", "982555909\n", "101482739\n", "random"},
		{"another number of digits", "9825559\n", "0014827\n", "random"},
	} {
		w := quick
		if strings.HasPrefix(tt.name, "slow") {
			w = slow
		}
		all, err := reproduce.Compare(t.Context(), side(t, map[string]string{"f": tt.a}, w[0]), side(t, map[string]string{"f": tt.b}, w[1]))
		if err != nil || len(all) != 1 || string(all[0].Cause) != tt.want {
			t.Errorf("%s: got %v, %v, want %s", tt.name, all, err, tt.want)
		}
	}
}

func TestBinaries(t *testing.T) {
	noise := func(seed uint64, n int) string {
		b := make([]byte, n)
		r := rand.NewChaCha8([32]byte{byte(seed)})
		_, _ = r.Read(b)
		return string(b)
	}
	u32 := func(order binary.AppendByteOrder, t time.Time) string {
		return string(order.AppendUint32(nil, uint32(t.Unix())))
	}
	elf := "\x7fELF\x00\x01" + strings.Repeat("\x00", 40)
	for _, tt := range []struct{ name, a, b, want string }{
		{"a time, little end first", elf + u32(binary.LittleEndian, began) + elf, elf + u32(binary.LittleEndian, second) + elf, "timestamp"},
		{"a time, big end first", elf + u32(binary.BigEndian, began) + elf, elf + u32(binary.BigEndian, second) + elf, "timestamp"},
		{"a time in nanoseconds", elf + string(binary.LittleEndian.AppendUint64(nil, uint64(began.UnixNano()))) + elf,
			elf + string(binary.LittleEndian.AppendUint64(nil, uint64(second.UnixNano()))) + elf, "timestamp"},
		{"seconds and nanoseconds", elf + string(binary.BigEndian.AppendUint64(nil, uint64(began.Unix())<<32+123456789)),
			elf + string(binary.BigEndian.AppendUint64(nil, uint64(second.Unix())<<32+987654321)), "timestamp"},
		{"a floating time", elf + string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(began.Unix())+0.125))) + elf,
			elf + string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(second.Unix())+0.75))) + elf, "timestamp"},
		{"a time as Windows has it", elf + string(binary.LittleEndian.AppendUint64(nil, uint64(began.Unix()+11644473600)*1e7+1234567)) + elf,
			elf + string(binary.LittleEndian.AppendUint64(nil, uint64(second.Unix()+11644473600)*1e7+7654321)) + elf, "timestamp"},
		{"a time in words", elf + "Nov 27 2026\x0010:42:37" + elf, elf + "Nov 27 2026\x0010:42:39" + elf, "timestamp"},
		{"a path, and an identifier made of it", elf + noise(1, 20) + elf + "/home/me/project/main.go" + elf, elf + noise(2, 20) + elf + "/var/again/2/main.go" + elf, "path"},
		{"a host", elf + "first-host" + elf, elf + "elsewhere\x00" + elf, "hostname"},
		{"an identifier", elf + noise(1, 20) + elf, elf + noise(2, 20) + elf, "random"},
		{"one bit", elf + "\x00" + elf, elf + "\x01" + elf, "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := differences(t, map[string]string{"f": tt.a}, map[string]string{"f": tt.b})
			if len(all) != 1 || string(all[0].Cause) != tt.want {
				t.Errorf("got %v, want %s", all, tt.want)
			}
		})
	}
}

// file is one file of an archive.
type file struct {
	name, content string
	at            time.Time
	uid           int
}

func tarOf(t *testing.T, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), ModTime: f.at, Uid: f.uid}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, f.content)
	}
	_ = w.Close()
	return b.String()
}

func gzipOf(content string, at time.Time) string {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w.ModTime = at
	_, _ = io.WriteString(w, content)
	_ = w.Close()
	return b.String()
}

func zstdOf(content string) string {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return string(w.EncodeAll([]byte(content), nil))
}

func xzOf(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 1 << 20, BlockSize: 1 << 10}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, content)
	_ = w.Close()
	return b.String()
}

func zipOf(t *testing.T, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Modified: f.at, Method: zip.Deflate}
		to, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(to, f.content)
	}
	_ = w.Close()
	return b.String()
}

func arOf(files ...file) string {
	b := "!<arch>\n"
	for _, f := range files {
		b += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", f.name+"/", f.at.Unix(), f.uid, 0, "100644", len(f.content), f.content)
		if len(f.content)%2 == 1 {
			b += "\n"
		}
	}
	return b
}

// TestArchives looks for the file in which archives differ, archives in
// archives included.
func TestArchives(t *testing.T) {
	x, y := file{"x", "abc", began, 0}, file{"dir/y", "made 10:42:37", began, 0}
	later := func(f file) file { f.at = second; return f }
	owned := func(f file) file { f.uid = 1000; return f }
	other := file{"dir/y", "made 10:42:39", began, 0}
	for _, tt := range []struct{ name, a, b, want string }{
		{"tar: content", tarOf(t, x, y), tarOf(t, x, other), "dir/y|13|timestamp"},
		{"tar: times", tarOf(t, x, y), tarOf(t, later(x), later(y)), "|147|timestamp"},
		{"tar: owner", tarOf(t, x), tarOf(t, owned(x)), "|112|user"},
		{"tar: order", tarOf(t, x, y), tarOf(t, y, x), "|1|order"},
		{"tar: a file more", tarOf(t, x), tarOf(t, x, y), "dir/y|0|added"},
		{"tar: a file less", tarOf(t, x, y), tarOf(t, x), "dir/y|0|missing"},
		{"tar: one name twice", tarOf(t, x, x), tarOf(t, x, file{"x", "abd", began, 0}), "x#2|3|unknown"},
		{"gzip: header", gzipOf("abc", began), gzipOf("abc", second), "|5|timestamp"},
		{"gzip: content", gzipOf("n=12345", began), gzipOf("n=98765", began), "content|3|random"},
		{"zip: content", zipOf(t, x, y), zipOf(t, x, other), "dir/y|13|timestamp"},
		{"zip: times", zipOf(t, x), zipOf(t, later(x)), "|11|timestamp"},
		{"zip: order", zipOf(t, x, y), zipOf(t, y, x), "|27|order"},
		{"ar: times", arOf(x), arOf(later(x)), "|34|timestamp"},
		{"ar: content", arOf(y, x), arOf(other, x), "dir/y|13|timestamp"},
		{"ar: owner", arOf(x), arOf(owned(x)), "|37|user"},
		{"tar in gzip", gzipOf(tarOf(t, y), began), gzipOf(tarOf(t, other), began), "content/dir/y|13|timestamp"},
		{"tar in zstd", zstdOf(tarOf(t, y)), zstdOf(tarOf(t, other)), "content/dir/y|13|timestamp"},
		{"tar in xz", xzOf(t, tarOf(t, y)), xzOf(t, tarOf(t, other)), "content/dir/y|13|timestamp"},
		{"half of xz", xzOf(t, tarOf(t, y))[:40], xzOf(t, tarOf(t, other))[:41], "|41|unknown"},
		{"zip in tar in gzip", gzipOf(tarOf(t, file{"w.zip", zipOf(t, y), began, 0}), began), gzipOf(tarOf(t, file{"w.zip", zipOf(t, other), began, 0}), began),
			"content/w.zip/dir/y|13|timestamp"},
		{"half a tar", tarOf(t, x, y)[:700], tarOf(t, x, other)[:699], "|700|unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := differences(t, map[string]string{"f": tt.a}, map[string]string{"f": tt.b})
			if got := strings.ReplaceAll(brief(all), "f|", ""); got != strings.TrimPrefix(tt.want, "|") && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNamesOfArchives: what is in a.tar.gz is called a.tar.
func TestNamesOfArchives(t *testing.T) {
	a, b := gzipOf(tarOf(t, file{"n", "1", began, 0}), began), gzipOf(tarOf(t, file{"n", "2", began, 0}), began)
	for name, want := range map[string]string{"a.tar.gz": "a.tar/n", "a.tgz": "a.tar/n", "x": "content/n", ".gz": "content/n"} {
		all := differences(t, map[string]string{name: a}, map[string]string{name: b})
		if len(all) != 1 || all[0].Inside != want {
			t.Errorf("%s: got %v, want %s", name, all, want)
		}
	}
}

func TestCompressedDifferently(t *testing.T) {
	text := strings.Repeat("the same text, again and again\n", 1000)
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w.ModTime = began
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	all := differences(t, map[string]string{"f": gzipOf(text, began)}, map[string]string{"f": b.String()})
	if len(all) != 1 || all[0].Cause != reproduce.Compression {
		t.Errorf("got %v", all)
	}
}

func TestTrees(t *testing.T) {
	all := differences(t,
		map[string]string{"a": "1", "b": "-> a", "c": "x", "same": "s", "link": "-> one"},
		map[string]string{"b": "1", "c/d": "x", "same": "s", "z": "", "link": "-> two"})
	if got, want := brief(all), "a||0|missing b||0|kind c||0|missing c/d||0|added link||1|unknown z||0|added"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestModes(t *testing.T) {
	a, b := side(t, map[string]string{"f": "x"}, worlds[0]), t.TempDir()
	if err := os.WriteFile(filepath.Join(b, "f"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	all, err := reproduce.Compare(t.Context(), a, scan(t, b, worlds[1]))
	if err != nil || brief(all) != "f||0|mode" {
		t.Errorf("got %v, %v", all, err)
	}
}

// TestMost bounds what is found.
func TestMost(t *testing.T) {
	a, b := map[string]string{}, map[string]string{}
	for i := range 50 {
		a[fmt.Sprintf("f%02d", i)], b[fmt.Sprintf("f%02d", i)] = "1", "2"
	}
	all := differences(t, a, b)
	if len(all) != reproduce.Most || !slices.IsSortedFunc(all, func(x, y reproduce.Difference) int { return strings.Compare(x.Path, y.Path) }) {
		t.Errorf("got %d: %v", len(all), all)
	}
}

// TestBomb: what bursts is compared as bytes, and no error; what is large and
// within bounds is looked into.
func TestBomb(t *testing.T) {
	const size = 20 << 20 // more than is kept in memory
	zeros := strings.Repeat("\x00", size)
	a := side(t, map[string]string{"f": gzipOf(zeros+"10:42:37", began)}, worlds[0])
	b := side(t, map[string]string{"f": gzipOf(zeros+"10:42:39", began)}, worlds[1])
	for most, want := range map[int64]string{
		1 << 10: "f||", size: "f||", size + 8: "f||", 4 * size: fmt.Sprintf("f|content|%d|timestamp", size+8),
	} {
		all, err := reproduce.CompareWithin(t.Context(), a, b, most)
		if err != nil || len(all) == 0 || !strings.HasPrefix(brief(all), want) {
			t.Errorf("%d bytes: got %v, %v; want %s", most, all, err, want)
		}
	}
}

func TestEndOfContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := side(t, map[string]string{"f": "1"}, worlds[0])
	if all, err := reproduce.Compare(ctx, x, x); err == nil || all != nil {
		t.Errorf("got %v, %v", all, err)
	}
}

// FuzzCompare wants a difference exactly where there is one, and no panic.
func FuzzCompare(f *testing.F) {
	x := file{"x", "abc", began, 0}
	f.Add([]byte(arOf(x)), []byte(arOf(x, x)))
	f.Add([]byte(gzipOf("x", began)), []byte(gzipOf("y", began)))
	f.Add([]byte("a 10:42:37"), []byte("b 10:42:38"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if bytes.HasPrefix(a, []byte("-> ")) || bytes.HasPrefix(b, []byte("-> ")) {
			t.Skip()
		}
		all := differences(t, map[string]string{"f": string(a)}, map[string]string{"f": string(b)})
		if (len(all) == 0) != bytes.Equal(a, b) {
			t.Errorf("%q and %q: %v", a, b, all)
		}
		for _, d := range all {
			if strings.ContainsAny(d.String(), "\n\r\x1b") && !strings.ContainsAny(d.Inside, "\n\r\x1b") {
				t.Errorf("%q is no one line", d)
			}
		}
	})
}
