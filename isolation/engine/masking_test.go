// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

const (
	token = "hunter2&more+é"
	pem   = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\nu1SU1LfVLPHCozMx\n-----END KEY-----\n"
)

// telling are ways in which a step can tell token, or a line of pem.
func telling() []string {
	return []string{
		token, base64.StdEncoding.EncodeToString([]byte("user:" + token)), url.QueryEscape(token), "u1SU1LfVLPHCozMx", "MIIEowIBAAKCAQEA",
	}
}

// secretive makes a cached project of one step that has both secrets.
func secretive(t *testing.T, out executor.Outcome, run func(context.Context, job) (int, error)) *project {
	t.Helper()
	p, _ := cached(t, "steps: {a: {run: x, image: i, inputs: [], outputs: [\"o*\"], network: recorded, secrets: {T: {env: T}, K: {env: K, mount: /run/k}, S: {env: S}}}}",
		nil, inMemory{"a": run})
	for level, e := range p.options.Executors {
		p.options.Executors[level] = finding{e.(counting), out, &executor.Job{}}
	}
	p.options.Environ = []string{"T=" + token, "K=" + pem, "S=7"}
	return p
}

// quiet makes sure that nothing that a run gave out or left tells a secret.
func quiet(t *testing.T, p *project, rec *engine.Record, err error) {
	t.Helper()
	all := map[string][]byte{"error": fmt.Appendf(nil, "%v", err)}
	var hinted *executor.HintedError
	if errors.As(err, &hinted) {
		all["hints"] = fmt.Append(nil, hinted.Err, hinted.Hints)
	}
	var step *engine.StepError
	if errors.As(err, &step) {
		all["tail"] = step.Tail
	}
	for i, e := range p.events.all {
		if all[fmt.Sprintf("event %d", i)], err = json.Marshal(e); err != nil {
			t.Fatal(err)
		}
	}
	if all["receipt"], err = receipt.Marshal(rec.Receipt); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(p.path(".attest"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range all {
		for _, secret := range telling() {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s tells %q:\n%s", where, secret, text)
			}
		}
	}
}

// TestSecretsAreMasked has a step tell its secrets in every way.
func TestSecretsAreMasked(t *testing.T) {
	out := executor.Outcome{
		Fetched:    []executor.Fetch{{URL: "https://a/?t=" + url.QueryEscape(token), SHA256: digest.OfSHA256([]byte("a"))}},
		Unexpected: []string{"b/" + token, "c/" + token + "\xff", "d\nd"}, Modified: []string{token},
		Missing: []string{"e/" + token}, MissingPrograms: []string{token}, Unread: []string{"f/" + token},
		Read: []executor.File{{Path: token, Digest: digest.Of(nil)}},
	}
	p := secretive(t, out, func(_ context.Context, j job) (int, error) {
		for _, text := range telling() {
			for i := range len(text) { // in the smallest pieces
				if _, err := j.Stdout.Write([]byte(text[i : i+1])); err != nil {
					return 0, err
				}
			}
			if err := errors.Join(say(j.Stdout, " and\n"), say(j.Stderr, text+"\n")); err != nil {
				return 0, err
			}
			j.Progress(executor.Progress{Doing: "fetching " + text})
		}
		return 0, errors.Join(say(j.Stdout, pem), say(j.Stdout, "no line end 7 "+token), j.put("o", "it"))
	})
	p.write("***", "") // what was read is where its masked name says
	var events []string
	before := len(p.events.all)
	rec, err := engine.Run(context.Background(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	quiet(t, p, rec, nil)
	for _, e := range p.events.all[before:] {
		events = append(events, e.Body.Type())
	}
	if !strings.Contains(strings.Join(events, " "), "step.log") {
		t.Errorf("no event holds what the step printed: %q", events)
	}
	log, err := os.ReadFile(rec.Results[0].Log)
	if err != nil || !strings.HasSuffix(string(log), "***\nno line end *** ***") || !strings.HasPrefix(string(log), "***") {
		t.Errorf("the log is %q (%v)", log, err)
	}
	facts := rec.Receipt.Steps[0]
	if strings.Join(facts.Unexpected, "|") != "b/***|c/***\uFFFD|d\nd" || facts.Fetched[0].URL != "https://a/?t=***" {
		t.Errorf("unexpected %q, fetched %v", facts.Unexpected, facts.Fetched)
	}
	// The result is used again: what was kept tells no more.
	p.events.all = nil
	p.options.ReplayLogs = true
	rec, err = engine.Run(context.Background(), p.options)
	if err != nil || rec.Receipt.Steps[0].Cache != receipt.Hit {
		t.Fatalf("the second run: %v, %v", rec.Receipt.Steps[0].Cache, err)
	}
	quiet(t, p, rec, nil)
}

// TestSecretsInErrors: what an executor says, what the end of the log has, and
// the names of outputs.
func TestSecretsInErrors(t *testing.T) {
	for name, run := range map[string]func(context.Context, job) (int, error){
		"the executor fails": func(_ context.Context, _ job) (int, error) {
			return 0, &executor.HintedError{
				Err: fmt.Errorf("%w: mounting %s", executor.ErrUnavailable, token), Hints: []string{"try " + token},
			}
		},
		"the command fails": func(_ context.Context, j job) (int, error) { return 3, say(j.Stderr, "bad password "+token) },
		"an output's name":  func(_ context.Context, j job) (int, error) { return 0, j.put("o-"+token, "x") },
		"an output's target": func(_ context.Context, j job) (int, error) {
			return 0, os.Symlink(token, filepath.Join(j.Staging, "o"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := secretive(t, executor.Outcome{}, run)
			rec, err := engine.Run(context.Background(), p.options)
			if err == nil {
				t.Fatal("the run succeeded")
			}
			quiet(t, p, rec, err)
			if name == "the executor fails" && !errors.Is(err, executor.ErrUnavailable) {
				t.Errorf("the error is another one: %v", err)
			}
		})
	}
}

// TestSecretKeyOfOthers: a key that others can read hides nothing.
func TestSecretKeyOfOthers(t *testing.T) {
	p := secretive(t, executor.Outcome{}, nil)
	p.write(".attest/secret.key", strings.Repeat("k", 32))
	if _, err := p.fail(); !strings.Contains(err.Error(), "only its owner") {
		t.Errorf("error %v", err)
	}
}
