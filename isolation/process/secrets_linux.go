// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// files returns the files that a step is handed, at paths that its init can
// mount them at. What the step leaves, and folders that outlive it, must not get
// one: not even an empty file of the name.
func files(job executor.Job, env []string, v stepinit.View) ([]stepinit.File, error) {
	var all []stepinit.File
	for _, s := range mounted(job) {
		path, err := mountPath(s.Mount, env)
		if err == nil {
			path, err = placeFor(path, v)
		}
		if err != nil {
			return nil, &executor.HintedError{
				Err:   fmt.Errorf("secret %s cannot be mounted at %s: %w", s.Name, s.Mount, err),
				Hints: []string{"choose a path like /run/secrets/" + s.Name + ", or leave out mount for a variable"},
			}
		}
		all = append(all, stepinit.File{Path: path, Content: s.Value.Reveal()})
	}
	return all, nil
}

// mountPath returns the absolute path of a mount, which may be in the step's home.
func mountPath(path string, env []string) (string, error) {
	rest, inHome := strings.CutPrefix(path, "~/")
	if !inHome {
		return path, nil
	}
	home := homeIn(env)
	if home == "" {
		return "", errors.New("the step's environment has no HOME")
	}
	return filepath.Join(home, rest), nil
}

// placeFor returns the path by which an init finds the place of a file: without
// symbolic links, but for the folders that are the step's own.
func placeFor(path string, v stepinit.View) (string, error) {
	for _, tmp := range []string{"/tmp", "/var/tmp"} {
		if rest, ok := below(path, tmp); ok {
			if rest == "" {
				return "", errors.New("that is a folder")
			}
			return path, outside(path, v)
		}
	}
	real, above, err := resolve(path)
	if err != nil {
		return "", err
	}
	if err := outside(real, v); err != nil {
		return "", err
	}
	if rest, ok := below(path, v.Home); ok && v.Home != "" {
		home, _, err := resolve(v.Home)
		if err != nil {
			return "", err
		}
		// Of an empty home the links are not there either.
		if inside, ok := below(real, home); ok || v.HomeEmpty {
			if v.HomeEmpty {
				inside = rest
			}
			return join(v.Home, inside), nil
		}
	}
	if above == real {
		info, err := os.Stat(real)
		if err == nil && info.IsDir() {
			err = errors.New("that is a folder")
		}
		return real, err
	}
	if above == "/" {
		return "", errors.New("nothing can be put into /")
	}
	entries, err := os.ReadDir(above)
	if err == nil && len(entries) > stepinit.MostBeside {
		err = fmt.Errorf("more than %d files stand in %s", stepinit.MostBeside, above)
	}
	return real, err
}

// outside makes sure that a path is in no folder of which something is kept.
func outside(path string, v stepinit.View) error {
	if _, in := below(path, v.Project); in {
		return errors.New("what is in the project may be taken for an output")
	}
	for _, dir := range v.Writable {
		if _, in := below(path, dir); in {
			return fmt.Errorf("the cache %s is there for later steps as well", dir)
		}
	}
	return nil
}

// resolve follows symbolic links as far as a path is there; above is the part
// of it that is.
func resolve(path string) (real, above string, err error) {
	for at := path; ; at = filepath.Dir(at) {
		above, err := filepath.EvalSymlinks(at)
		if errors.Is(err, fs.ErrNotExist) && at != "/" {
			continue
		}
		if err != nil {
			return "", "", err
		}
		return filepath.Join(above, path[len(at):]), above, nil
	}
}
