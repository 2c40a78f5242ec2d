// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/dsse"
	"github.com/attest-pipeline/attest/attestation/intoto"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/attestation/verify"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
	"github.com/attest-pipeline/attest/isolation/record"
)

// TestMain lets the test binary be the init of process steps.
func TestMain(m *testing.M) {
	if process.IsInit(os.Args) {
		os.Exit(process.Main())
	}
	os.Exit(m.Run())
}

const yaml = `version: "0.1"
name: test
attestation: {sign_all_steps: %v}
steps:
  build:
    run: "mkdir -p dist/sub && cp src/in dist/out && chmod +x dist/out && ln -s out dist/link && echo built > dist/sub/log"
    inputs: [src/]
    outputs: [dist/]
    attestation: {generate_slsa: true}
  test:
    run: "test -x dist/out; echo ok; %s"
    inputs: []
    needs: [build]
`

// run runs the pipeline with real processes in a project of its own.
func run(t *testing.T, signAll bool, extra string) (dir string, o record.Options) {
	t.Helper()
	dir = t.TempDir()
	data := fmt.Appendf(nil, yaml, signAll, extra)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "attest.yaml"), data, 0o644),
		os.Mkdir(filepath.Join(dir, "src"), 0o755),
		os.WriteFile(filepath.Join(dir, "src/in"), []byte("input"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	read, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	o.Plan, err = plan.New(read)
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = filepath.Join(dir, ".attest")
	o.Record, err = engine.Run(context.Background(), engine.Options{
		Plan: o.Plan, Root: dir, Version: "0.1.0", Environ: os.Environ(),
		Executors: map[pipeline.Isolation]executor.Executor{pipeline.Process: process.New(process.Options{Environ: os.Environ()})},
	})
	if o.Record == nil || err != nil && o.Record.Receipt.Status == receipt.Succeeded {
		t.Fatal(err)
	}
	return dir, o
}

func key(t *testing.T) keys.Private {
	t.Helper()
	k, err := keys.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, o record.Options) record.Paths {
	t.Helper()
	paths, err := record.Write(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestWhatIsWrittenVerifies goes from attest.yaml to a proof.
func TestWhatIsWrittenVerifies(t *testing.T) {
	dir, o := run(t, true, "true")
	k := key(t)
	o.Signer = k
	paths := write(t, o)
	v, err := verify.New(verify.Options{Keys: []keys.Public{k.Public()}, Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	proof, _, err := v.Verify(context.Background(), read(t, paths.Receipt))
	if err != nil || proof == nil {
		t.Fatalf("proof %v, error %v", proof, err)
	}
	name := strings.TrimSuffix(filepath.Base(paths.Receipt), ".yaml")
	var want []string
	for _, who := range []string{"", ".build", ".test"} {
		for _, ending := range []string{".dsse.json", ".sigstore.json", ".intoto.jsonl"} {
			want = append(want, filepath.Join(o.Dir, "attestations", name+who+ending))
		}
	}
	if diff := cmp.Diff(want, paths.Statements); diff != "" {
		t.Errorf("statements, -want +got:\n%s", diff)
	}
	for _, p := range paths.Statements {
		if strings.HasSuffix(p, ".sigstore.json") {
			continue
		}
		payload, _, err := dsse.Open(read(t, p), intoto.PayloadType, k.Public())
		if err != nil {
			t.Errorf("%s: %v", p, err)
		}
		built := digest.OfSHA256([]byte("input")).Hex()
		if !strings.Contains(p, ".test.") && !bytes.Contains(payload, []byte(built)) {
			t.Errorf("%s does not name what was built", p)
		}
	}
	// What is verified is what is there: a changed output is named, and by its
	// own name, since the listing is at hand.
	if err := os.WriteFile(filepath.Join(dir, "dist/sub/log"), []byte("tampered"), 0o644); err != nil {
		t.Fatal(err)
	}
	if proof, _, err := v.Verify(context.Background(), read(t, paths.Receipt)); proof != nil || err == nil || !strings.Contains(err.Error(), "dist/sub/log") {
		t.Errorf("after tampering: proof %v, error %v", proof, err)
	}
}

func TestListings(t *testing.T) {
	_, o := run(t, false, "true")
	write(t, o)
	names, err := os.ReadDir(filepath.Join(o.Dir, "receipts/listings"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, n := range names {
		text := read(t, filepath.Join(o.Dir, "receipts/listings", n.Name()))
		if digest.Of(text).Hex() != n.Name() {
			t.Errorf("%s is not the name of its content", n.Name())
		}
		if _, err := tree.ParseListing(text); err != nil {
			t.Error(err)
		}
		got[n.Name()] = true
	}
	folders := 0
	for _, s := range o.Record.Receipt.Steps {
		for _, p := range append(s.Inputs, s.Outputs...) {
			if p.Mode == "" {
				folders++
				if !got[p.Hash.Hex()] {
					t.Errorf("there is no listing of %s", p.Path)
				}
			}
		}
	}
	if folders != 3 || len(got) != 2 {
		t.Errorf("%d folders in the receipt, %d listings; want 3 and 2", folders, len(got))
	}
}

func TestStatementsOnlyWhereAsked(t *testing.T) {
	_, o := run(t, false, "true")
	if paths := write(t, o); len(paths.Statements) != 0 || o.Record.Receipt.Signature != "" {
		t.Errorf("without a key: %v, signature %q", paths.Statements, o.Record.Receipt.Signature)
	}
	o.Signer = key(t)
	paths := write(t, o)
	if n := len(paths.Statements); n != 6 {
		t.Errorf("%d files, want the run's and those of the step with generate_slsa: %v", n, paths.Statements)
	}
}

// TestFailedRun has a receipt like any other, and no statement of the run.
func TestFailedRun(t *testing.T) {
	_, o := run(t, true, "exit 3")
	k := key(t)
	o.Signer = k
	paths := write(t, o)
	r, err := receipt.Parse(read(t, paths.Receipt))
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != receipt.Failed || r.Steps[1].ExitCode != 3 || r.Signature == "" {
		t.Errorf("receipt is %+v", r)
	}
	for _, p := range paths.Statements {
		if !strings.Contains(filepath.Base(p), ".build.") {
			t.Errorf("a statement vouches for what failed: %s", p)
		}
	}
	if len(paths.Statements) != 3 {
		t.Errorf("statements are %v, want those of build", paths.Statements)
	}
}

// TestManyAtOnce writes many receipts of one second from several goroutines.
func TestManyAtOnce(t *testing.T) {
	_, o := run(t, false, "true")
	o.Record.Receipt.Timestamp = time.Date(2026, 12, 1, 14, 30, 52, 0, time.UTC)
	const n = 30
	got := make([]string, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			mine := o
			record := *o.Record
			r := *o.Record.Receipt
			r.Version = fmt.Sprintf("0.0.%d", i)
			record.Receipt = &r
			mine.Record = &record
			got[i] = write(t, mine).Receipt
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for i, p := range got {
		if seen[p] {
			t.Errorf("two receipts at %s", p)
		}
		seen[p] = true
		r, err := receipt.Parse(read(t, p))
		if err != nil || r.Version != fmt.Sprintf("0.0.%d", i) {
			t.Errorf("%s is not what was written: %v", p, err)
		}
	}
	if !seen[filepath.Join(o.Dir, "receipts/receipt_20261201_143052.yaml")] ||
		!seen[filepath.Join(o.Dir, "receipts/receipt_20261201_143052_30.yaml")] {
		t.Errorf("names are %v", got)
	}
	items, err := os.ReadDir(filepath.Join(o.Dir, "receipts"))
	if err != nil || len(items) != n+1 {
		t.Errorf("%d names, want %d receipts and the listings: %v", len(items), n, err)
	}
}

// TestNothingIsOverwritten meets a receipt that somebody else put there.
func TestNothingIsOverwritten(t *testing.T) {
	_, o := run(t, false, "true")
	first := write(t, o).Receipt
	before := read(t, first)
	if second := write(t, o).Receipt; second == first {
		t.Error("the second receipt took the place of the first")
	}
	if !bytes.Equal(read(t, first), before) {
		t.Error("the first receipt changed")
	}
}

// TestEndedContext: an interrupted run has its receipt all the same.
func TestEndedContext(t *testing.T) {
	_, o := run(t, false, "true")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted"))
	if _, err := record.Write(ctx, o); err != nil {
		t.Error(err)
	}
}

func TestNoReceiptWithoutStatements(t *testing.T) {
	_, o := run(t, false, "true")
	o.Signer = key(t)
	if err := os.WriteFile(filepath.Join(o.Dir, "attestations"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if paths, err := record.Write(context.Background(), o); err == nil {
		t.Errorf("written: %v", paths)
	}
	if items, _ := filepath.Glob(filepath.Join(o.Dir, "receipts/*.yaml")); len(items) > 0 {
		t.Errorf("there is a receipt without its statements: %v", items)
	}
	if items, _ := filepath.Glob(filepath.Join(o.Dir, "receipts/.*")); len(items) > 0 {
		t.Errorf("left behind: %v", items)
	}
}
