// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// walked is where a name leads.
type walked struct {
	path   string   // absolute, and without links but for the last part
	mode   uint32   // its type, as stat has it; 0 where it is not known
	links  []string // that were followed
	absent bool     // nothing stands there
}

// leadsPast reports whether nothing of the way is in the project or above it.
func (w walked) leadsPast(project string) bool {
	for _, p := range append(w.links, w.path) {
		_, inside := below(p, project)
		_, above := below(project, path.Dir(p))
		if inside || above {
			return false
		}
	}
	return true
}

// walk finds out where a name of the step leads, as the kernel will.
func (l *lookups) walk(name string, follow bool) walked {
	if w, ok := l.straight(name, follow); ok {
		return w
	}
	const mostLinks = 40 // as in Linux
	var w walked
	at, rest := "/", name
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		last := strings.Trim(rest, "/") == ""
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		var info unix.Stat_t
		err := unix.Fstatat(l.root, relative(next), &info, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return walked{path: path.Join(next, rest), links: w.links, absent: true}
		case err != nil:
			return walked{path: path.Join(next, rest), links: w.links}
		}
		w.mode = info.Mode & unix.S_IFMT
		if w.mode != unix.S_IFLNK || last && !follow {
			at = next
			continue
		}
		target := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(l.root, relative(next), target)
		if err != nil || len(w.links) == mostLinks {
			return walked{path: next, links: w.links}
		}
		w.links = append(w.links, next)
		if to := string(target[:size]); path.IsAbs(to) {
			at, rest = "/", to+"/"+rest
		} else {
			rest = to + "/" + rest
		}
	}
	w.path = at
	return w
}

// straight is walk for a name in which there is no link, told at once.
func (l *lookups) straight(name string, follow bool) (walked, bool) {
	if strings.Contains(name, "/../") || strings.HasSuffix(name, "/..") {
		return walked{}, false
	}
	flags := uint64(unix.O_PATH | unix.O_CLOEXEC)
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	clean := path.Clean(name)
	fd, err := unix.Openat2(l.root, relative(clean), &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_IN_ROOT})
	if err != nil {
		return walked{}, false
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return walked{}, false
	}
	return walked{path: clean, mode: info.Mode & unix.S_IFMT}, true
}

// relative returns an absolute path as seen from the root folder.
func relative(p string) string {
	if p = strings.TrimLeft(p, "/"); p == "" {
		return "."
	}
	return p
}

// readString reads text that ends with a zero byte.
func readString(pid uint32, address uintptr) (string, error) {
	const page = 4 << 10 // or a part of one: the next may not be there
	text := make([]byte, 0, 256)
	for len(text) < unix.PathMax {
		piece := text[len(text):cap(text)]
		if rest := int(page - address%page); len(piece) > rest {
			piece = piece[:rest]
		}
		if err := readMemory(pid, address, piece); err != nil {
			return "", err
		}
		if i := bytes.IndexByte(piece, 0); i >= 0 {
			return string(text[:len(text)+i]), nil
		}
		text = text[:len(text)+len(piece)]
		address += uintptr(len(piece))
		if len(text) == cap(text) {
			text = append(make([]byte, 0, unix.PathMax), text...)
		}
	}
	return "", unix.ENAMETOOLONG
}

// readMemory fills b from a process.
func readMemory(pid uint32, address uintptr, b []byte) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(int(pid), local, []unix.RemoteIovec{{Base: address, Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return err
}
