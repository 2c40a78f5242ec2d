// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/isolation/landing"
	"github.com/attest-pipeline/attest/isolation/process"
)

// Where a run keeps what is not the project's, relative to the project.
const (
	stateDir = ".attest"
	tmpDir   = stateDir + "/tmp"
	landDir  = stateDir + "/landed"
	lockFile = stateDir + "/lock"
)

// ignoreFile keeps git from looking at what attest keeps.
const ignoreFile = "# Keys, receipts, logs and caches of attest: nothing to commit.\n*\n"

// workspace is a project's .attest folder in the hands of one run: the lock,
// and, once something asks for them, folders for the run's temporary files and
// for its logs.
type workspace struct {
	root *os.Root
	path string // of the project
	lock *os.File
	// tmp returns the path of the run's own folder in tmpDir, and logs that of
	// the folder with its logs, the former relative to the project.
	tmp  func() (string, error)
	logs func() (string, error)
	used struct{ tmp, logs string } // what they returned; read when the steps have ended
	// landed holds the steps of which landDir has something.
	landed func() (map[string]bool, error)
}

// openWorkspace takes the lock, waiting for another run that has it, and clears
// away what a killed run left. waiting is called once when there is a wait.
func openWorkspace(ctx context.Context, root *os.Root, logDir string, now time.Time, waiting func()) (*workspace, error) {
	if err := makeStateDir(root); err != nil {
		return nil, fmt.Errorf("preparing %s: %w", stateDir, err)
	}
	lock, err := takeLock(ctx, root, waiting)
	if err != nil {
		return nil, err
	}
	w := &workspace{root: root, path: root.Name(), lock: lock}
	stamp := now.UTC().Format("20060102_150405")
	w.tmp = sync.OnceValues(func() (string, error) { return w.makeTmp(stamp) })
	w.logs = sync.OnceValues(func() (string, error) { return w.makeLogs(logDir, stamp) })
	w.landed = sync.OnceValues(w.listLanded)
	if err := w.clear(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return w, nil
}

// MakeStateDir makes the .attest of the project in the folder root, with a
// .gitignore that keeps all of it out of the repository: a private key must not be
// committed by the git add of somebody who never heard of it. What is there is left
// as it is; a link in its place is an error.
func MakeStateDir(root string) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("making %s: %w", stateDir, err)
	}
	defer dir.Close()
	if err := makeStateDir(dir); err != nil {
		return fmt.Errorf("making %s: %w", stateDir, err)
	}
	return nil
}

func makeStateDir(root *os.Root) error {
	if err := root.Mkdir(stateDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(stateDir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("it is %v, not a folder; a link could lead what attest keeps anywhere", info.Mode().Type())
	}
	f, err := root.OpenFile(stateDir+"/.gitignore", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(ignoreFile)
	return errors.Join(err, f.Close())
}

// takeLock waits for the project's lock. Whoever dies gives it back.
func takeLock(ctx context.Context, root *os.Root, waiting func()) (*os.File, error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the project's lock: %w", err)
	}
	const pause = 50 * time.Millisecond
	for first := true; ; first = false {
		got, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking the project: %w", err), f.Close())
		}
		if got {
			return f, nil
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(pause):
		}
	}
}

// clear removes what a killed run left.
func (w *workspace) clear() error {
	runs, err := os.ReadDir(w.abs(tmpDir))
	if err == nil && len(runs) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := w.putBack(); err != nil {
		return err
	}
	if err := landing.RemoveAll(w.root, tmpDir); err != nil {
		return fmt.Errorf("removing what an earlier run left in %s: %w", tmpDir, err)
	}
	return nil
}

func (w *workspace) makeTmp(name string) (string, error) {
	if err := w.root.Mkdir(tmpDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	w.used.tmp = path.Join(tmpDir, name)
	return w.used.tmp, w.root.Mkdir(w.used.tmp, 0o700)
}

func (w *workspace) makeLogs(dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the folder for logs: %w", err)
	}
	at := filepath.Join(dir, name)
	for n := 2; ; n++ {
		err := os.Mkdir(at, 0o755)
		if err == nil {
			w.used.logs = at
			return at, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("making the folder for logs: %w", err)
		}
		at = filepath.Join(dir, name+"_"+strconv.Itoa(n))
	}
}

// putBack restores outputs that a process step of a killed run had moved aside.
func (w *workspace) putBack() error {
	tmp := w.abs(tmpDir)
	runs, err := os.ReadDir(tmp)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, run := range runs {
		steps, err := os.ReadDir(filepath.Join(tmp, run.Name()))
		if err != nil {
			continue // no folder, so not a run's
		}
		for _, step := range steps {
			aside := filepath.Join(tmp, run.Name(), step.Name(), asideName)
			if err := process.PutBack(w.path, aside); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeStepDir makes a step's own folder, with an empty staging folder in it,
// and returns its path relative to the project.
func (w *workspace) makeStepDir(index int) (string, error) {
	tmp, err := w.tmp()
	if err != nil {
		return "", err
	}
	dir := path.Join(tmp, strconv.Itoa(index))
	if err := w.root.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, w.root.Mkdir(path.Join(dir, stagingName), 0o700)
}

// Names in a step's own folder. What a process step moved out of its way is in
// the second; see [process.PutBack].
const (
	stagingName = "out"
	asideName   = stagingName + ".aside"
)

func (w *walk) staging() string { return path.Join(w.dir, stagingName) }
func (w *walk) aside() string   { return path.Join(w.dir, asideName) }

// abs returns the absolute path of p, which is relative to the project.
func (w *workspace) abs(p string) string { return filepath.Join(w.path, filepath.FromSlash(p)) }

// close removes the run's temporary files and lets the next run in.
func (w *workspace) close() {
	if w.used.tmp != "" {
		_ = landing.RemoveAll(w.root, w.used.tmp)
	}
	_ = w.lock.Close()
}
