// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// recentReceipts is how many receipts are looked at for durations, at most: of many
// runs most find nothing to do.
const recentReceipts = 50

// maxReceipt bounds the receipts that are read.
const maxReceipt = 64 << 20

// durations returns how long each step took when it last ran and succeeded, by the
// most recent receipts of the project; empty where there are none. One whose result
// was always there, of another step that does the same, takes what it took to find it.
// Receipts are not verified: they only say where time probably goes.
func durations(root string, p *pipeline.Pipeline) map[string]time.Duration {
	files, _ := filepath.Glob(filepath.Join(root, stateDir, "receipts", "receipt_*.yaml"))
	slices.Sort(files) // their names are dates
	slices.Reverse(files)
	known, found := map[string]time.Duration{}, map[string]time.Duration{}
	for _, file := range files[:min(len(files), recentReceipts)] {
		data, err := readFile(file)
		if err != nil {
			continue
		}
		r, err := receipt.Parse(data)
		if err != nil || r.Pipeline.Name != p.Name {
			continue
		}
		for _, s := range r.Steps {
			of := known
			if s.Cache == receipt.Hit {
				of = found
			}
			if _, ok := of[s.Name]; !ok && s.Status == receipt.Succeeded {
				of[s.Name] = s.Duration
			}
		}
		if !slices.ContainsFunc(p.Steps, func(s pipeline.Step) bool { _, ok := known[s.Name]; return !ok }) {
			break
		}
	}
	for name, took := range found {
		if _, ok := known[name]; !ok {
			known[name] = took
		}
	}
	return known
}

// readFile reads a regular file that may be somebody else's, within a bound.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReceipt+1))
	if err == nil && len(data) > maxReceipt {
		return nil, &os.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	return data, err
}
