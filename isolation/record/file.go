// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// reservation is a file's name, taken before there is anything to write.
type reservation struct {
	name string // without its ending
	path string
	file *os.File // hidden, beside path, until publish
}

// reserve takes the first free name among stem, stem_2, stem_3 and so on in dir.
// The hidden file that it makes keeps others from the same name; where a kill
// leaves one behind, no more is lost than that name.
func reserve(dir, stem, ending string) (*reservation, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		name := stem
		if n > 1 {
			name = fmt.Sprintf("%s_%d", stem, n)
		}
		path := filepath.Join(dir, name+ending)
		if _, err := os.Lstat(path); err == nil {
			continue // most of the taken ones, without making a file
		}
		hidden := filepath.Join(dir, "."+name+ending+".new")
		f, err := os.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := &reservation{name: name, path: path, file: f}
		_, err = os.Lstat(r.path)
		if errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
		r.release() // somebody was faster
		if err != nil {
			return nil, err
		}
	}
}

// publish writes data and lets it appear under the name.
func (r *reservation) publish(data []byte, lasting bool) error {
	return fill(r.file, r.path, data, lasting)
}

// release removes the hidden file.
func (r *reservation) release() {
	_ = r.file.Close()
	_ = os.Remove(r.file.Name())
}

// fill writes data to the file and gives it its path; where it is to be lasting,
// both are on the disk then. A hard link, unlike a rename, replaces nothing.
func fill(f *os.File, path string, data []byte, lasting bool) error {
	_, err := f.Write(data)
	if err == nil && lasting {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil || !lasting {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder has the names in a folder on the disk. Where a system cannot do that
// for folders, they are there when it sees fit.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// writeNew writes a file that must not be there.
func writeNew(path string, data []byte, lasting bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Chmod(0o644); err != nil {
		return errors.Join(err, f.Close())
	}
	return fill(f, path, data, lasting)
}

// writeOnce writes a lasting file whose name is that of its content, unless it is
// there.
func writeOnce(path string, data func() ([]byte, error)) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	text, err := data()
	if err == nil {
		err = writeNew(path, text, true)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was faster, with the same content
	}
	return err
}
