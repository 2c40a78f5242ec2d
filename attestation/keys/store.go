// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists is returned when a key would be overwritten.
var ErrExists = errors.New("a key is there already")

// Names of the files of a [Store].
const (
	PrivateFile = "private.key"
	PublicFile  = "public.key"
)

// Store is a folder with one key pair: private.key (PKCS#8 PEM, mode 0600) and
// public.key (see [Public.PEM]), in a folder of mode 0700. Several processes
// may use one Store at once: one of them makes the key, all get the same.
type Store struct {
	Dir  string    // usually .attest/keys
	Rand io.Reader // where new keys come from; nil means the system's source
}

// Load returns the private key. Where there is none, the error matches
// [fs.ErrNotExist].
func (s Store) Load() (Private, error) { return LoadPrivate(s.path(PrivateFile)) }

// Public returns the public key from its own file; the private key is not
// touched. Where there is none, the error matches [fs.ErrNotExist].
func (s Store) Public() (Public, error) { return LoadPublic(s.path(PublicFile)) }

// Ensure returns the private key, making the pair where there is none; created
// says that it did. A public.key that is missing beside a private key is written
// anew; one that belongs to another private key is an error that matches
// [ErrKey], since somebody may have put it there.
func (s Store) Ensure() (key Private, created bool, err error) {
	key, err = s.Load()
	if errors.Is(err, fs.ErrNotExist) {
		key, err = s.Generate()
		if created = err == nil; created {
			return key, true, nil
		}
		if errors.Is(err, ErrExists) { // another process was faster
			key, err = s.Load()
		}
	}
	if err != nil {
		return Private{}, false, err
	}
	return key, false, s.checkPublic(key.Public())
}

func (s Store) checkPublic(want Public) error {
	got, err := s.Public()
	if errors.Is(err, fs.ErrNotExist) {
		return s.write(PublicFile, want.PEM(), 0o644, os.Rename)
	}
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: %s is %s, but the private key beside it belongs to %s", ErrKey, s.path(PublicFile), got, want)
	}
	return nil
}

// Generate makes a pair where there is none; the error matches [ErrExists] where
// there is a private key already.
func (s Store) Generate() (Private, error) {
	// A hard link fails where the name is taken; a rename would replace it.
	return s.generate(os.Link)
}

// Replace makes a pair in place of the one that is there, which is lost.
func (s Store) Replace() (Private, error) { return s.generate(os.Rename) }

func (s Store) generate(place func(from, to string) error) (Private, error) {
	if err := s.ensureDir(); err != nil {
		return Private{}, err
	}
	key, err := Generate(s.Rand)
	if err != nil {
		return Private{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.key())
	if err != nil {
		return Private{}, fmt.Errorf("encoding private key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: privateType, Bytes: der})
	if err := s.write(PrivateFile, text, 0o600, place); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: %s", ErrExists, s.path(PrivateFile))
		}
		return Private{}, err
	}
	if err := s.write(PublicFile, key.Public().PEM(), 0o644, os.Rename); err != nil {
		return Private{}, err
	}
	return key, nil
}

// ensureDir makes the folder, and refuses one in which others could swap keys.
func (s Store) ensureDir() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("making the key folder: %w", err)
	}
	info, err := os.Lstat(s.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a folder", ErrKey, s.Dir)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: others may write to %s (mode %04o); chmod 700 it", ErrKey, s.Dir, mode)
	}
	return nil
}

// write puts a file in place in one step, complete and on disk, or not at all.
func (s Store) write(name string, data []byte, mode fs.FileMode, place func(from, to string) error) (err error) {
	f, err := os.CreateTemp(s.Dir, "."+name+"-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() {
		// After a rename there is nothing to remove, after a link there is.
		_ = os.Remove(f.Name())
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", s.path(name), err)
	}
	return place(f.Name(), s.path(name))
}

func (s Store) path(name string) string { return filepath.Join(s.Dir, name) }
