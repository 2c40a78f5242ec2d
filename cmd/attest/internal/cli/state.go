// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// makeStateDir makes a project's .attest, with a .gitignore that keeps all of
// it out of the repository: a private key must not be committed by the `git
// add` of somebody who never heard of it.
func makeStateDir(root string) error {
	dir, err := os.OpenRoot(root) // a link out of the project is not followed
	if err != nil {
		return fmt.Errorf("making %s: %w", stateDir, err)
	}
	defer dir.Close()
	if err := dir.Mkdir(stateDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making %s: %w", stateDir, err)
	}
	f, err := dir.OpenFile(filepath.Join(stateDir, ".gitignore"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", stateDir, err)
	}
	_, err = f.WriteString("# Keys, receipts, logs and caches of attest: nothing to commit.\n*\n")
	return errors.Join(err, f.Close())
}

// short is a path as it is shown: relative where it is below the folder that
// the user is in.
func (e *Env) short(p string) string {
	if e.moved {
		return p // relative paths would mislead whoever started us elsewhere
	}
	rel, err := filepath.Rel(e.Dir, p)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return p
	}
	return rel
}
