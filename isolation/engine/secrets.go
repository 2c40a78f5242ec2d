// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/mask"
)

// secretKeyFile holds the key of the hashes of secrets, which no record has:
// who has a key's pre-image cannot try guesses on it.
const secretKeyFile = stateDir + "/secret.key"

// maxSecret bounds what is read as a secret: no more can be kept out of logs.
const maxSecret = mask.MaxValue

// readSecrets gets what the step is handed.
func (w *walk) readSecrets(ctx context.Context) error {
	for _, s := range w.step.Secrets {
		value, err := w.run.secretValue(ctx, s)
		if err == nil && s.Mount == "" && bytes.IndexByte(value, 0) >= 0 {
			err = errors.New("it holds a NUL byte, which no variable can; give it a mount")
		}
		if err != nil {
			return w.at(s.Pos, fmt.Sprintf("secret %s: %v", s.Name, err))
		}
		w.secrets = append(w.secrets, executor.Secret{Name: s.Name, Mount: s.Mount, Value: executor.NewSecretValue(value)})
		w.facts.Secrets = append(w.facts.Secrets, s.Name)
	}
	return w.newMasker()
}

func (r *run) secretValue(ctx context.Context, s pipeline.Secret) ([]byte, error) {
	switch {
	case s.Env != "":
		value, ok := r.variable(s.Env)
		if !ok {
			return nil, fmt.Errorf("the environment has no %s", s.Env)
		}
		return []byte(value), nil
	case s.File != "":
		name, err := r.secretPath(s.File)
		if err != nil {
			return nil, err
		}
		return readSecretFile(name)
	default:
		return r.secretOutput(ctx, s.Command)
	}
}

// variable looks up a variable of the caller's environment.
func (r *run) variable(name string) (string, bool) {
	for _, v := range slices.Backward(r.Environ) { // the last one counts, as for exec
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// secretPath returns the path of the file that a secret comes from.
func (r *run) secretPath(name string) (string, error) {
	below, inHome := strings.CutPrefix(name, "~/")
	switch home, _ := r.variable("HOME"); {
	case inHome && !filepath.IsAbs(home):
		return "", fmt.Errorf("%s: the environment has no HOME", name)
	case inHome:
		return filepath.Join(home, filepath.FromSlash(below)), nil
	case filepath.IsAbs(name):
		return name, nil
	default:
		return filepath.Join(r.Root, filepath.FromSlash(name)), nil
	}
}

func readSecretFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(value) > maxSecret {
		err = fmt.Errorf("it is longer than %d bytes", maxSecret)
	}
	return value, err
}

// secretOutput runs a command of the user's on the host, as the user. As in
// $(...), newlines at the end of what it prints are not part of it.
func (r *run) secretOutput(ctx context.Context, script string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", script)
	cmd.Dir, cmd.Env = r.Root, r.Environ
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{buffer: &stdout}, &capped{buffer: &stderr}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		said := cmp.Or(lastLine(stderr.String()), "it wrote nothing to stderr")
		return nil, fmt.Errorf("its command: %w: %s", err, said)
	case stdout.Len() > maxSecret:
		return nil, fmt.Errorf("its command printed more than %d bytes", maxSecret)
	}
	return bytes.TrimRight(stdout.Bytes(), "\n"), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// capped keeps a byte more than a secret may have, and takes the rest in vain.
type capped struct{ buffer *bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	room := max(0, maxSecret+1-c.buffer.Len())
	c.buffer.Write(p[:min(len(p), room)])
	return len(p), nil
}

// secretKey returns the project's key, made at its first use. Whoever deletes
// it makes every step with a secret run again.
func secretKey(root *os.Root) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		key, err := readSecretKey(root)
		if errors.Is(err, fs.ErrNotExist) {
			if err = makeSecretKey(root); err == nil {
				key, err = readSecretKey(root) // whoever's it is that came first
			}
		}
		if err != nil {
			return nil, fmt.Errorf("hashing secrets: %w", err)
		}
		return key, nil
	})
}

// readSecretKey reads the key, if nobody else can.
func readSecretKey(root *os.Root) ([]byte, error) {
	info, err := root.Lstat(secretKeyFile)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be a file that only its owner can read: chmod 600, or remove it, and a new one is made", secretKeyFile)
	}
	key, err := root.ReadFile(secretKeyFile)
	if err == nil && len(key) != cachekey.SecretKeySize {
		err = fmt.Errorf("%s does not hold %d bytes; remove it, and a new one is made", secretKeyFile, cachekey.SecretKeySize)
	}
	return key, err
}

// makeSecretKey puts a key in place whole, unless there is one by now.
func makeSecretKey(root *os.Root) error {
	key := make([]byte, cachekey.SecretKeySize)
	_, _ = rand.Read(key) // never fails
	if err := makeStateDir(root); err != nil {
		return err
	}
	name := secretKeyFile + "-" + rand.Text()
	if err := root.WriteFile(name, key, 0o600); err != nil {
		return err
	}
	err := root.Link(name, secretKeyFile)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, root.Remove(name))
}
