// SPDX-License-Identifier: Apache-2.0

// Package receipttest makes receipts and keys for tests: a project on disk and
// the receipt that describes it, honestly made.
//
// Start with [Key] and [Sample].
package receipttest

import (
	"bytes"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
)

// Key returns the private key whose 32 bytes of seed are all n. It is public
// knowledge and must sign nothing outside of tests.
func Key(n byte) keys.Private {
	key, err := keys.Generate(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		panic(err) // 32 bytes are there to be read
	}
	return key
}

// Sample returns a receipt in which every field of the document is used: two
// steps that succeeded and strings that need quotes and escapes.
func Sample() *receipt.Receipt {
	of := func(s string) digest.Digest { return digest.Of([]byte(s)) }
	sha := func(s string) digest.Digest { return digest.OfSHA256([]byte(s)) }
	return &receipt.Receipt{
		Schema:       receipt.Schema,
		PipelineHash: of("version: \"0.1\"\n"),
		Timestamp:    time.Date(2026, 12, 1, 14, 30, 52, 0, time.UTC),
		Duration:     127 * time.Second,
		Version:      "0.1.0",
		Status:       receipt.Succeeded,
		Pipeline:     receipt.Pipeline{Name: "my-project", File: "ci/attest pipeline.yaml"},
		Source:       &receipt.Source{Commit: "9fceb02d0ae598e95dc970b74767f19372d61af8", Dirty: true},
		Environment:  receipt.Environment{OS: "linux", Arch: "amd64", Engine: "embedded buildkit v0.34.2"},
		Steps: []receipt.Step{
			{
				Name: "build", Command: "set -e\nnpm run \"build\"\t# ünïcode \u202e \U0001f600",
				Type: "build", Status: receipt.Succeeded, Duration: 45003 * time.Millisecond,
				Cache: receipt.Miss, Key: of("key 1"), Isolation: "container", Network: "none",
				Controls: []string{"mount-namespace", "network-none", "seccomp"},
				Caches:   []string{"npm"}, Secrets: []string{"CI_TOKEN", "NPM_TOKEN"},
				Fetched: []receipt.Fetch{
					{URL: "https://example.org/a?b=c", SHA256: sha("body")},
					{URL: "https://example.org/a?b=c", SHA256: sha("another body")},
				},
				Unfetched: []string{"GET https://example.org/b: the answer broke off", "https://example.com/: refused"},
				Read:      []receipt.File{{Path: "config/a b.json", Hash: of("{ }")}},
				Programs:  []receipt.File{{Path: "/bin/sh", Hash: of("sh")}, {Path: "/usr/bin/node", Hash: of("node")}},
				Missing:   []string{".env", "config/local file.json"}, MissingPrograms: []string{"no", "pandoc"}, Unread: []string{"package.json"},
				Unexpected: []string{"tmp/left over", "x"}, Modified: []string{"package.json"},
				Reproduction: &receipt.Reproduction{Verdict: receipt.Different, Varied: []string{"clock", "path"}, Differences: []receipt.Difference{
					{Path: "dist/a.tgz", Inside: "a.tar/b", Offset: 137, Cause: "timestamp"}, {Path: "dist/b", Cause: "missing"},
				}},
				Image:   "node:22-alpine@sha256:" + sha("image").Hex(),
				Env:     map[string]string{"NODE_ENV": "production", "DEBUG": "off", "EMPTY": "", "N": "1"},
				PassEnv: []string{"CI_TOKEN_FILE"},
				Inputs: []receipt.Path{
					{Path: "empty/", Hash: of("attest.listing/v1\n")},
					{Path: "package.json", Mode: receipt.ModeFile, Hash: of("{}")},
					{Path: "src/", Hash: of("listing")},
				},
				Outputs: []receipt.Path{
					{Path: "bin/latest", Mode: receipt.ModeSymlink, Hash: of("tool"), SHA256: sha("tool")},
					{Path: "bin/tool", Mode: receipt.ModeExecutable, Hash: of("\x7fELF"), SHA256: sha("\x7fELF")},
					{Path: "dist/", Hash: of("listing 2"), SHA256: sha("listing 2")},
				},
				Log: of("log 1"),
			},
			{
				Name: "test \U0001f512", Command: "true", Status: receipt.Succeeded,
				Duration: 100 * time.Millisecond, Cache: receipt.Off, Isolation: "process",
				Needs: []string{"build"}, Reproduction: &receipt.Reproduction{Verdict: receipt.Identical},
			},
		},
	}
}
