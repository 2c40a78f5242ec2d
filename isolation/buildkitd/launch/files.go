// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is the longest path of a unix socket: 108 bytes with the NUL.
const maxSocketPath = 107

// Files are the files of one embedded engine.
type Files struct {
	StateDir  string // 0700, everything below is the engine's
	Root      string // BuildKit's own state
	Lock      string // held by the daemon as long as it lives; its text is the pid
	StartLock string // held by whoever starts a daemon
	Log       string
	// MachineLogs is a folder with what virtual machines said that failed.
	MachineLogs string
	// Temporary is what the engine has for a temporary folder: empty when it starts.
	Temporary string
	// SocketDir is StateDir, or where that path is too long for a socket, a
	// short one of the same user that is derived from it.
	SocketDir string
	Socket    string // BuildKit's gRPC, 0600
	Control   string // the questions of this package, 0600
}

// DefaultStateDir is ATTEST_STATE_DIR, else attest in XDG_STATE_HOME, else
// ~/.local/state/attest.
func DefaultStateDir(environ []string) (string, error) {
	if dir := Getenv(environ, "ATTEST_STATE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := Getenv(environ, "XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "attest"), nil
	}
	home := Getenv(environ, "HOME")
	if home == "" {
		return "", errors.New("finding the state folder: neither HOME nor ATTEST_STATE_DIR is set")
	}
	return filepath.Join(home, ".local", "state", "attest"), nil
}

// FilesIn names the files of the engine whose state folder is dir. Nothing is
// made; see [Files.Make].
func FilesIn(dir string) (Files, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Files{}, fmt.Errorf("finding the state folder: %w", err)
	}
	dir = resolveLinks(dir)
	f := Files{
		StateDir:  dir,
		Root:      filepath.Join(dir, "buildkit"),
		Lock:      filepath.Join(dir, "engine.lock"),
		StartLock: filepath.Join(dir, "start.lock"),
		Log:       filepath.Join(dir, "engine.log"),
		SocketDir: dir,

		MachineLogs: filepath.Join(dir, "machine-logs"),
		Temporary:   filepath.Join(dir, "tmp"),
	}
	if len(filepath.Join(dir, "control.sock")) > maxSocketPath {
		f.SocketDir = shortDir(dir)
	}
	f.Socket = filepath.Join(f.SocketDir, "engine.sock")
	f.Control = filepath.Join(f.SocketDir, "control.sock")
	return f, nil
}

// resolveLinks follows the symbolic links of a path as far as it exists, so
// that two names of one folder do not mean two sockets, nor does one name
// before and after the folder was made.
func resolveLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolveLinks(parent), filepath.Base(path))
}

// Name is a short name of the state folder, the same for every process.
func (f Files) Name() string {
	sum := sha256.Sum256([]byte(f.StateDir))
	return hex.EncodeToString(sum[:6])
}

// Address is the engine's address as BuildKit clients write it.
func (f Files) Address() string { return "unix://" + f.Socket }

// Make makes the folders, for this user alone, and refuses one that another
// user could have put there.
func (f Files) Make() error {
	if err := os.MkdirAll(f.StateDir, 0o700); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	for _, dir := range []string{f.StateDir, f.SocketDir} {
		if err := ownFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

// shortDir is where the sockets lie when dir is too long a path. It only
// depends on dir and the user, so that every attest finds the same.
func shortDir(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	uid := strconv.Itoa(os.Getuid())
	return filepath.Join("/tmp", "attest-"+uid+"-"+hex.EncodeToString(sum[:8]))
}

// Getenv returns a variable of an environment as a process finds it: the last one
// wins, and one that is not there is empty.
func Getenv(environ []string, name string) string {
	value := ""
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}
