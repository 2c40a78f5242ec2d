// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
)

// What stands in the cache's folder. FORMAT.md says what each is.
const (
	outputsDir  = "outputs"
	receiptsDir = "receipts"
	metadataDir = "metadata"
	inputsDir   = "inputs" // not ours: package statcache's
	locksDir    = "locks"
	lastDir     = "metadata/last"

	tagFile    = "CACHEDIR.TAG"
	lockFile   = "lock"
	sizeFile   = "size"
	tidiedFile = "tidied"
)

// tagText marks the folder for programs that make backups, and tagBegin as ours.
const (
	tagBegin = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of attest"
	tagText  = tagBegin + ": all of it can be removed at any time.\n" +
		"# https://bford.info/cachedir/ says what this file is for.\n"
)

// Store is a cache on disk.
type Store struct {
	o        Options
	realTime bool        // Options.Now is that of the system
	hurry    patience    // of Maintain
	pressed  patience    // of Put
	off      atomic.Bool // see ErrOff

	mu      sync.Mutex
	root    *os.Root            // nil as long as there is no folder
	folders map[string]*os.Root // those of its folders that were used
	blobs   *cas.Dir            // nil as long as there is no outputsDir
}

// Open returns the cache at o.Dir. A folder that is not there is an empty
// cache. Errors match [ErrUnsafe], or are those of looking at the folder; a
// caller does without a cache then.
func Open(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("the cache folder %q is not an absolute path", o.Dir)
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	s := &Store{o: o, hurry: atTheEnd(), pressed: between(), folders: map[string]*os.Root{}}
	if o.Now == nil {
		s.o.Now, s.realTime = time.Now, true
	}
	root, err := openFolder(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the cache: %w", err)
	}
	s.root = root
	return s, nil
}

// Close gives back what the Store holds open. The Store is of no use after it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.folders {
		errs = append(errs, f.Close())
	}
	if s.root != nil {
		errs = append(errs, s.root.Close())
	}
	s.root, s.folders, s.blobs = nil, map[string]*os.Root{}, nil
	return errors.Join(errs...)
}

// openFolder opens the folder of a cache if it is one, and one to be trusted.
func openFolder(dir string) (*os.Root, error) {
	there, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !there.IsDir() {
		return nil, fmt.Errorf("%w: %s is %s; name the folder itself", ErrUnsafe, dir, kindOf(there))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	err = checkFolder(root, dir, there)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

func checkFolder(root *os.Root, dir string, there fs.FileInfo) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(info, there) {
		return fmt.Errorf("%w: %s is being replaced", ErrUnsafe, dir)
	}
	if err := trusted(info); err != nil {
		return fmt.Errorf("%w: %s %w", ErrUnsafe, dir, err)
	}
	return checkTag(root, dir)
}

// trusted refuses what others could have put results into.
func trusted(info fs.FileInfo) error {
	if info.Mode()&0o022 != 0 {
		return fmt.Errorf("can be written by other users (mode %#o)", info.Mode().Perm())
	}
	uid, known := owner(info)
	if me := os.Geteuid(); known && uid != me && uid != 0 {
		return fmt.Errorf("belongs to user %d, and you are user %d", uid, me)
	}
	return nil
}

// checkTag refuses a folder that is something else than a cache: what is not
// needed in a cache is removed one day.
func checkTag(root *os.Root, dir string) error {
	if tagged, err := hasTag(root); tagged || err != nil {
		return err
	}
	names, err := namesIn(root, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == inputsDir || strings.HasPrefix(name, tempPrefix) {
			continue
		}
		// Another process may have made the cache just now, beginning with the tag.
		if tagged, err := hasTag(root); tagged || err != nil {
			return err
		}
		return fmt.Errorf("%w: %s is not a cache of attest, and not empty: %q is in it", ErrUnsafe, dir, name)
	}
	return nil
}

func hasTag(root *os.Root) (bool, error) {
	text, err := root.ReadFile(tagFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.HasPrefix(string(text), tagBegin), err
}

func kindOf(info fs.FileInfo) string {
	if info.Mode()&fs.ModeSymlink != 0 {
		return "a symbolic link"
	}
	return "not a folder"
}

// make makes the folder of the cache where there is none. mu is held.
func (s *Store) make() error {
	if s.root == nil {
		if err := os.MkdirAll(filepath.Dir(s.o.Dir), 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(s.o.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		root, err := openFolder(s.o.Dir)
		if err != nil {
			return err
		}
		s.root = root
	}
	if _, err := s.root.Lstat(tagFile); err == nil {
		return nil
	}
	_, err := writeFile(s.root, tagFile, []byte(tagText), time.Time{})
	return err
}

// folder returns one of the cache's folders. A folder that is not there matches
// fs.ErrNotExist.
func (s *Store) folder(name string) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(name)
}

// makeFolder is folder for those who write to it: what is not there is made.
func (s *Store) makeFolder(name string) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.folders[name]; ok {
		return f, nil
	}
	if err := s.make(); err != nil {
		return nil, err
	}
	if err := s.root.MkdirAll(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return s.open(name)
}

// open is folder with mu held. A link is not followed, wherever it leads.
func (s *Store) open(name string) (*os.Root, error) {
	if f, ok := s.folders[name]; ok {
		return f, nil
	}
	if s.root == nil {
		return nil, fs.ErrNotExist
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s in it is %s", ErrUnsafe, name, kindOf(info))
	}
	f, err := s.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	s.folders[name] = f
	return f, nil
}

// top returns the cache's own folder; the error matches fs.ErrNotExist where
// there is none.
func (s *Store) top() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil, fs.ErrNotExist
	}
	return s.root, nil
}

// content returns the store of blobs; the error matches fs.ErrNotExist where
// there is none.
func (s *Store) content() (*cas.Dir, error) { return s.contentIn(s.folder) }

// makeContent is content for those who write to it.
func (s *Store) makeContent() (*cas.Dir, error) { return s.contentIn(s.makeFolder) }

func (s *Store) contentIn(folder func(string) (*os.Root, error)) (*cas.Dir, error) {
	f, err := folder(outputsDir)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs == nil {
		s.blobs = cas.NewDir(f)
	}
	return s.blobs, nil
}

// stamp is the time that a file is given which is written now: zero where the
// file system will give it the right one by itself.
func (s *Store) stamp() time.Time {
	if s.realTime {
		return time.Time{}
	}
	return s.o.Now()
}
