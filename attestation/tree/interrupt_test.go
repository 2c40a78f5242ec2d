// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// TestHashingStopsInTheMiddleOfAFile hashes a file that would take minutes.
func TestHashingStopsInTheMiddleOfAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "holes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "holes"), 1<<40); err != nil {
		t.Skip("no sparse files here:", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	stop := errors.New("stop")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, stop)
	defer cancel()
	began := time.Now()
	if _, err := (tree.Hasher{SHA256: true}).Scan(ctx, root, "", nil); !errors.Is(err, stop) {
		t.Errorf("error is %v, want the cause", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to stop", took)
	}
}
