// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

type keysCmd struct {
	Generate keysGenerateCmd `cmd:"" help:"Make the project's key pair."`
	List     keysListCmd     `cmd:"" help:"List the project's keys."`
	Show     keysShowCmd     `cmd:"" help:"Print a public key."`
}

// Help says where keys are.
func (keysCmd) Help() string {
	return `The project's keys are .attest/keys/private.key, which signs and never leaves the machine, and .attest/keys/public.key, which others verify with. The first attest run --sign makes them.`
}

// keyStore is where a project keeps its key pair.
func keyStore(root string) keys.Store {
	return keys.Store{Dir: filepath.Join(root, stateDir, "keys")}
}

// keyInfo is a public key as it is shown.
type keyInfo struct {
	File        string `json:"file"`
	PublicKey   string `json:"public_key"`
	Fingerprint string `json:"fingerprint"`
	// CanSign is set where it is the project's and the private key is there too.
	CanSign bool `json:"can_sign"`
}

func describeKey(env *Env, file string, key keys.Public) keyInfo {
	store := keyStore(env.Dir)
	info := keyInfo{File: env.short(file), PublicKey: key.String(), Fingerprint: key.Fingerprint()}
	if file == filepath.Join(store.Dir, keys.PublicFile) {
		_, err := os.Lstat(filepath.Join(store.Dir, keys.PrivateFile))
		info.CanSign = err == nil
	}
	return info
}

func (k keyInfo) print(env *Env) error {
	return env.print("%s\n  public key:  %s\n  fingerprint: %s", k.File, k.PublicKey, k.Fingerprint)
}

type keysGenerateCmd struct {
	Force bool `help:"Replace the pair that is there. What it signed cannot be verified with the new one."`
	jsonFlag
}

// Help shows how.
func (keysGenerateCmd) Help() string {
	return `Examples:

    attest keys generate
    attest keys generate && cp .attest/keys/public.key release.pub`
}

// Run makes a pair.
func (c *keysGenerateCmd) Run(env *Env) error {
	if err := engine.MakeStateDir(env.Dir); err != nil {
		return err
	}
	store := keyStore(env.Dir)
	generate := store.Generate
	if c.Force {
		generate = store.Replace
	}
	key, err := generate()
	if errors.Is(err, keys.ErrExists) {
		return &executor.HintedError{
			Err:   keyError{err},
			Hints: []string{"attest keys show prints it; --force replaces it"},
		}
	}
	if err != nil {
		return err
	}
	info := describeKey(env, filepath.Join(store.Dir, keys.PublicFile), key.Public())
	if env.json {
		env.result = info
		return nil
	}
	return info.print(env)
}

// keyError makes an error one about keys.
type keyError struct{ error }

func (e keyError) Unwrap() error        { return e.error }
func (e keyError) Is(target error) bool { return target == keys.ErrKey }

type keysListCmd struct{ jsonFlag }

// Help shows how.
func (keysListCmd) Help() string {
	return `Examples:

    attest keys list
    attest keys list --json`
}

// Run lists the pair of the project, where there is one.
func (c *keysListCmd) Run(env *Env) error {
	list := []keyInfo{}
	store := keyStore(env.Dir)
	key, err := store.Public()
	switch {
	case err == nil:
		info := describeKey(env, filepath.Join(store.Dir, keys.PublicFile), key)
		list = append(list, info)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if env.json {
		env.result = struct {
			Keys []keyInfo `json:"keys"`
		}{list}
		return nil
	}
	if len(list) == 0 {
		env.note("no keys yet; attest keys generate makes them")
	}
	for _, k := range list {
		use := "verifies"
		if k.CanSign {
			use = "signs, verifies"
		}
		if err := env.print("%s  %s  %s  (%s)", k.File, k.PublicKey, k.Fingerprint, use); err != nil {
			return err
		}
	}
	return nil
}

type keysShowCmd struct {
	File string `arg:"" optional:"" help:"A public key's file (default: that of the project)."`
	PEM  bool   `name:"pem" help:"Print it as PEM, for openssl and cosign."`
	jsonFlag
}

// Help shows how.
func (keysShowCmd) Help() string {
	return `Examples:

    attest keys show
    attest keys show release-team.pub
    attest keys show --pem > cosign.pub`
}

func (c *keysShowCmd) load(env *Env) (key keys.Public, file string, err error) {
	if c.File == "" {
		return projectPublic(env, "attest keys generate makes the project's keys", "attest keys show FILE prints another's")
	}
	file = env.path(c.File)
	key, err = loadPublic(file)
	return key, file, err
}

// Run prints one public key.
func (c *keysShowCmd) Run(env *Env) error {
	key, file, err := c.load(env)
	if err != nil {
		return err
	}
	switch {
	case env.json:
		env.result = describeKey(env, file, key)
		return nil
	case c.PEM:
		_, err := env.Stdout.Write(key.PEM())
		return err
	}
	return describeKey(env, file, key).print(env)
}

// loadPublic reads a public key; one that is not there is an error about keys.
func loadPublic(file string) (keys.Public, error) {
	key, err := keys.LoadPublic(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = keyError{fmt.Errorf("no public key: %w", err)}
	}
	return key, err
}

// projectPublic reads the project's public key, from the file that it returns. Of one
// that is not there hints say what can be done.
func projectPublic(env *Env, hints ...string) (key keys.Public, file string, err error) {
	file = filepath.Join(keyStore(env.Dir).Dir, keys.PublicFile)
	key, err = loadPublic(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = &executor.HintedError{Err: err, Hints: hints}
	}
	return key, file, err
}
