// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	arMagic  = 8  // length of what an archive begins with
	arHeader = 60 // length of what stands before each file
)

// unar opens an archive of ar(1): a library, or a Debian package.
func (c *comparison) unar(x *content, _ string) (all []member, err error) {
	var names []byte // the table of names that are longer than a header's field
	for at := int64(arMagic); at < x.size && len(all) < maxMember; {
		h, err := x.part(at, arHeader)
		if err != nil || len(h) < arHeader || string(h[58:60]) != "`\n" {
			return all, errNotOne
		}
		size, err := strconv.ParseInt(field(h[48:58]), 10, 64)
		at += arHeader
		if err != nil || size < 0 || size > x.size-at {
			return all, errNotOne
		}
		name := arName(field(h[:16]), names)
		if name == "//" {
			if names, err = x.part(at, min(size, inMemory)); err != nil {
				return all, err
			}
		}
		marks := []mark{
			{Timestamp, arTime(field(h[16:28]))}, {User, "owner " + field(h[28:34]) + ":" + field(h[34:40])},
			{Umask, "mode " + field(h[40:48])},
		}
		all = append(all, member{name, marks, &content{io.NewSectionReader(x, at, size), size, func() {}}})
		at += size + size%2
	}
	return distinct(all), nil
}

func field(b []byte) string { return strings.TrimRight(string(b), " ") }

// arName returns the name that GNU's ar means: "a.o/", or "/12" for what stands
// at that offset in the table of long names.
func arName(short string, names []byte) string {
	if n, err := strconv.Atoi(strings.TrimPrefix(short, "/")); err == nil && short[0] == '/' && n >= 0 && n < len(names) {
		long, _, _ := bytes.Cut(names[n:], []byte("\n"))
		return strings.TrimSuffix(string(long), "/")
	}
	if short == "/" || short == "//" {
		return short
	}
	return strings.TrimSuffix(short, "/")
}

func arTime(text string) string {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return timeText(time.Unix(n, 0))
}
