// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Bounds on what comes out of archives: one that was made to burst is compared
// as the bytes that it is.
const (
	maxDepth  = 8
	maxSpent  = 4 << 30
	inMemory  = 16 << 20
	maxMember = 200_000
)

var (
	errNotOne = errors.New("not such an archive")
	errBursts = errors.New("too much comes out of it")
)

// member is one file of an archive.
type member struct {
	name  string
	marks []mark // what the archive says of it besides its content
	data  *content
}

// mark is one field of an archive's description of a file.
type mark struct {
	cause Cause
	text  string
}

// format is a kind of archive: what it begins with, and how it is opened.
type format struct {
	magic string
	at    int64
	packs bool // contents are compressed
	open  func(*comparison, *content, string) ([]member, error)
}

var formats = []format{
	{"\x1f\x8b", 0, true, (*comparison).gunzip},
	{"BZh", 0, true, (*comparison).bunzip},
	{"\x28\xb5\x2f\xfd", 0, true, (*comparison).unzstd},
	{"\xfd7zXZ\x00", 0, true, (*comparison).unxz},
	{"PK\x03\x04", 0, true, (*comparison).unzip},
	{"!<arch>\n", 0, false, (*comparison).unar},
	{"ustar", 257, false, (*comparison).untar},
}

// archives compares two archives of one format by what is in them. It reports
// whether they are compressed ones; where one cannot be read to its end they are
// no archives.
func (c *comparison) archives(at place, x, y *content, offset int64, depth int) (bool, error) {
	if depth >= maxDepth {
		return false, nil
	}
	for _, f := range formats {
		if !f.is(x) || !f.is(y) {
			continue
		}
		a, err := f.open(c, x, at.name())
		defer closeAll(a)
		if err != nil {
			return false, ofReading(err)
		}
		b, err := f.open(c, y, at.name())
		defer closeAll(b)
		if err != nil {
			return false, ofReading(err)
		}
		return f.packs, c.members(at, a, b, offset, depth)
	}
	return false, nil
}

// ofReading keeps errors that are not about the archive.
func ofReading(err error) error {
	var disk *os.PathError
	if errors.As(err, &disk) {
		return err
	}
	return nil
}

func (f format) is(c *content) bool {
	head, err := c.part(f.at, int64(len(f.magic)))
	return err == nil && string(head) == f.magic
}

// name is what the file at this place is called.
func (p place) name() string {
	if p.inside != "" {
		return path.Base(p.inside)
	}
	return path.Base(p.path)
}

func closeAll(all []member) {
	for _, m := range all {
		if m.data != nil {
			m.data.close()
		}
	}
}

// members compares the files of two archives: names and their order, what is
// said of each, and the contents.
func (c *comparison) members(at place, a, b []member, offset int64, depth int) error {
	if !slices.EqualFunc(a, b, func(m, n member) bool { return m.name == n.name }) {
		c.names(at, a, b, offset)
	}
	others := map[string]*member{}
	for i := range b {
		others[b[i].name] = &b[i]
	}
	said := map[Cause]bool{}
	for _, m := range a {
		n := others[m.name]
		if n == nil || c.full() {
			continue
		}
		for i, x := range m.marks {
			// Once for each cause: all files of an archive have the same times.
			if i < len(n.marks) && x != n.marks[i] && !said[x.cause] {
				said[x.cause] = true
				c.add(Difference{Path: at.path, Inside: at.inside, Offset: offset + 1, Cause: x.cause,
					First: m.name + " " + x.text, Second: n.marks[i].text})
			}
		}
		if err := c.contents(at.in(m.name), m.data, n.data, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// names says how the names in two archives differ.
func (c *comparison) names(at place, a, b []member, offset int64) {
	x, y := sortedNames(a), sortedNames(b)
	if slices.Equal(x, y) {
		c.add(Difference{Path: at.path, Inside: at.inside, Offset: offset + 1, Cause: Order,
			First: someNames(a), Second: someNames(b)})
		return
	}
	for _, name := range x {
		if _, ok := slices.BinarySearch(y, name); !ok && !c.full() {
			c.add(Difference{Path: at.path, Inside: at.in(name).inside, Cause: Missing})
		}
	}
	for _, name := range y {
		if _, ok := slices.BinarySearch(x, name); !ok && !c.full() {
			c.add(Difference{Path: at.path, Inside: at.in(name).inside, Cause: Added})
		}
	}
}

func sortedNames(all []member) []string {
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.name
	}
	slices.Sort(names)
	return names
}

func someNames(all []member) string {
	var names []string
	for _, m := range all[:min(len(all), 4)] {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

// keep reads a member's content into memory or a temporary file.
func (c *comparison) keep(r io.Reader) (*content, error) {
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(r, min(inMemory, c.left+1)))
	if c.left -= n; err == nil && c.left < 0 {
		err = errBursts
	}
	if err != nil {
		return nil, err
	}
	if n < inMemory {
		return &content{bytes.NewReader(head.Bytes()), n, func() {}}, nil
	}
	f, err := os.CreateTemp("", "attest-compare-")
	if err != nil {
		return nil, err
	}
	// Without a name it goes away with this process.
	_ = os.Remove(f.Name())
	size, err := io.Copy(f, io.MultiReader(&head, io.LimitReader(r, c.left+1)))
	if c.left -= size - n; err == nil && c.left < 0 {
		err = errBursts
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &content{f, size, func() { _ = f.Close() }}, nil
}

// one is an archive of one file.
func (c *comparison) one(name string, r io.Reader, marks ...mark) ([]member, error) {
	data, err := c.keep(r)
	if err != nil {
		return nil, err
	}
	return []member{{name, marks, data}}, nil
}

// without returns a name without its ending, so that the content of a.tar.gz is
// called a.tar.
func without(name string, endings ...string) string {
	for _, e := range endings {
		if short, ok := strings.CutSuffix(name, e); ok && short != "" {
			return short
		}
	}
	if short, ok := strings.CutSuffix(name, ".tgz"); ok && short != "" {
		return short + ".tar"
	}
	return "content"
}

func (c *comparison) gunzip(x *content, name string) ([]member, error) {
	z, err := gzip.NewReader(x.reader())
	if err != nil {
		return nil, err
	}
	marks := []mark{{Timestamp, timeText(z.ModTime)}, {Path, z.Name}, {Compression, fmt.Sprint(z.OS, z.Comment, z.Extra)}}
	return c.one(without(name, ".gz"), z, marks...)
}

func (c *comparison) bunzip(x *content, name string) ([]member, error) {
	return c.one(without(name, ".bz2"), bzip2.NewReader(x.reader()))
}

func (c *comparison) unzstd(x *content, name string) ([]member, error) {
	z, err := zstd.NewReader(x.reader(), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return c.one(without(name, ".zst"), z)
}

func (c *comparison) untar(x *content, _ string) (all []member, err error) {
	r := tar.NewReader(x.reader())
	for len(all) < maxMember {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return distinct(all), nil
		}
		if err != nil {
			return all, err
		}
		data, err := c.keep(r)
		if err != nil {
			return all, err
		}
		all = append(all, member{h.Name, []mark{
			{Timestamp, timeText(h.ModTime)}, {Timestamp, timeText(h.AccessTime)}, {Timestamp, timeText(h.ChangeTime)},
			{Umask, fmt.Sprintf("mode %04o", h.Mode)},
			{User, fmt.Sprintf("owner %d:%d %s:%s", h.Uid, h.Gid, h.Uname, h.Gname)},
			{Path, h.Linkname}, {Kind, string(rune(h.Typeflag))},
		}, data})
	}
	return all, errBursts
}

func (c *comparison) unzip(x *content, _ string) (all []member, err error) {
	r, err := zip.NewReader(x, x.size)
	if err != nil {
		return nil, err
	}
	if len(r.File) > maxMember {
		return nil, errBursts
	}
	for _, f := range r.File {
		open, err := f.Open()
		if err != nil {
			return all, err
		}
		data, err := c.keep(open)
		_ = open.Close()
		if err != nil {
			return all, err
		}
		all = append(all, member{f.Name, []mark{
			{Timestamp, timeText(f.Modified)}, {Umask, f.Mode().String()},
			{Timestamp, fmt.Sprintf("extra %x", f.Extra)}, {Compression, fmt.Sprint(f.Method, f.Flags, f.CreatorVersion, f.ReaderVersion)},
		}, data})
	}
	return distinct(all), nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.999999999")
}

// distinct numbers names that an archive has more than once.
func distinct(all []member) []member {
	seen := map[string]int{}
	for i := range all {
		name := all[i].name
		if seen[name]++; seen[name] > 1 {
			all[i].name = fmt.Sprintf("%s#%d", name, seen[name])
		}
	}
	return all
}
