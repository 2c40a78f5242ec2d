// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// secretKeyFile holds the key of the hashes of secrets, which no record has:
// who has a key's pre-image cannot try guesses on it.
const secretKeyFile = stateDir + "/secret.key"

// maxSecret bounds what is read as a secret.
const maxSecret = 1 << 20

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
	return nil
}

func (r *run) secretValue(ctx context.Context, s pipeline.Secret) ([]byte, error) {
	switch {
	case s.Env != "":
		for i := len(r.Environ) - 1; i >= 0; i-- { // the last one counts, as for exec
			if value, ok := strings.CutPrefix(r.Environ[i], s.Env+"="); ok {
				return []byte(value), nil
			}
		}
		return nil, fmt.Errorf("the environment has no %s", s.Env)
	case s.File != "":
		name := s.File
		if !filepath.IsAbs(name) {
			name = filepath.Join(r.Root, filepath.FromSlash(name))
		}
		return readSecretFile(name)
	default:
		return r.secretOutput(ctx, s.Command)
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
		return nil, fmt.Errorf("its command: %w: %s", err, lastLine(stderr.String()))
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
		key, err := root.ReadFile(secretKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			key, err = makeSecretKey(root)
		}
		if err == nil && len(key) != cachekey.SecretKeySize {
			err = fmt.Errorf("%s does not hold %d bytes; remove it, and a new one is made", secretKeyFile, cachekey.SecretKeySize)
		}
		if err != nil {
			return nil, fmt.Errorf("hashing secrets: %w", err)
		}
		return key, nil
	})
}

func makeSecretKey(root *os.Root) ([]byte, error) {
	key := make([]byte, cachekey.SecretKeySize)
	_, _ = rand.Read(key) // never fails
	if err := makeStateDir(root); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(secretKeyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // by an explanation that ran meanwhile
		return root.ReadFile(secretKeyFile)
	}
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	return key, errors.Join(err, f.Close())
}
