// SPDX-License-Identifier: Apache-2.0

package intoto_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/dsse"
	"github.com/attest-pipeline/attest/attestation/intoto"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// facts are those of receipttest's project, with an image and a source added.
func facts(t testing.TB) intoto.Facts {
	t.Helper()
	dir := t.TempDir()
	r := receipttest.Project(t, dir)
	r.Source = &receipt.Source{Commit: "9fceb02d0ae598e95dc970b74767f19372d61af8", Dirty: true}
	r.Environment.Engine = "embedded buildkit v0.34.2"
	r.Steps[0].Isolation, r.Steps[0].Network = "container", "none"
	r.Steps[0].Controls = []string{"mount-namespace", "seccomp"}
	r.Steps[0].Image = "gcc:15@" + digest.OfSHA256([]byte("image")).String()
	r.Steps[0].PassEnv = []string{"CI_TOKEN_FILE"}
	r.Steps[0].Log, r.Steps[0].Key = digest.Of([]byte("log")), digest.Of([]byte("key"))
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return finish(t, intoto.Facts{Receipt: r, ReceiptName: "receipt_20261201_143052.yaml", Outputs: map[string]tree.Tree{
		"build": receipttest.Select(t, root, []string{"dist"}),
		"test":  receipttest.Select(t, root, []string{"report.txt"}),
	}})
}

// finish signs the receipt as it is and fills in its bytes.
func finish(t testing.TB, f intoto.Facts) intoto.Facts {
	t.Helper()
	if err := receipt.Sign(f.Receipt, receipttest.Key(1)); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.ReceiptBytes, err = receipt.Marshal(f.Receipt); err != nil {
		t.Fatal(err)
	}
	return f
}

// view is a statement as a consumer reads it.
type view struct {
	Type          string `json:"_type"`
	PredicateType string
	Subject       []resource
	Predicate     struct {
		BuildDefinition struct {
			BuildType            string
			ExternalParameters   map[string]any
			ResolvedDependencies []resource
		}
		RunDetails struct {
			Builder  struct{ ID string }
			Metadata struct {
				InvocationID          string
				StartedOn, FinishedOn *time.Time
			}
			Byproducts []resource
		}
	}
}

type resource struct {
	Name, URI   string
	Digest      map[string]string
	Annotations map[string]any
}

func read(t testing.TB, text []byte, err error) view {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func namesOf(all []resource) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.Name+r.URI)
	}
	return names
}

// The files are also what hack/interop gives to sigstore-go.
func TestGolden(t *testing.T) {
	f := facts(t)
	run, err := intoto.ForRun(f)
	if err != nil {
		t.Fatal(err)
	}
	build, err := intoto.ForStep(f, "build")
	if err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string][]byte{"run": run, "build": build} {
		envelope, err := dsse.Sign(intoto.PayloadType, statement, receipttest.Key(1))
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := dsse.Bundle(envelope)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".statement.json", append(statement, '\n'))
		golden(t, name+".dsse.json", envelope)
		golden(t, name+".sigstore.json", bundle)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("ATTEST_UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestForRun(t *testing.T) {
	f := facts(t)
	text, err := intoto.ForRun(f)
	v := read(t, text, err)
	if v.Type != "https://in-toto.io/Statement/v1" || v.PredicateType != "https://slsa.dev/provenance/v1" {
		t.Errorf("types %s, %s", v.Type, v.PredicateType)
	}
	if d := cmp.Diff([]string{"dist/app", "dist/doc/a.txt", "dist/doc/b.txt", "report.txt"}, namesOf(v.Subject)); d != "" {
		t.Errorf("subjects: %s", d)
	}
	app := []byte("the application\n")
	if d := cmp.Diff(map[string]string{"blake3": digest.Of(app).Hex(), "sha256": digest.OfSHA256(app).Hex()}, v.Subject[0].Digest); d != "" {
		t.Errorf("digests: %s", d)
	}
	// The outputs of build that test reads are no dependencies of the run.
	definition := v.Predicate.BuildDefinition
	image := "docker-image://" + f.Receipt.Steps[0].Image
	if d := cmp.Diff([]string{image, "source", "README.md", "src/"}, namesOf(definition.ResolvedDependencies)); d != "" {
		t.Errorf("dependencies: %s", d)
	}
	source := definition.ResolvedDependencies[1]
	if source.Digest["gitCommit"] != f.Receipt.Source.Commit || source.Annotations["dirty"] != true {
		t.Errorf("source: %+v", source)
	}
	if got := definition.ResolvedDependencies[0].Digest["sha256"]; got != digest.OfSHA256([]byte("image")).Hex() {
		t.Errorf("image: %s", got)
	}
	external := map[string]any{
		"pipeline": map[string]any{"path": "attest.yaml", "digest": map[string]any{"blake3": f.Receipt.PipelineHash.Hex()}},
		"steps":    []any{"build", "test"},
		"passEnv":  []any{"CI_TOKEN_FILE"},
	}
	if d := cmp.Diff(external, definition.ExternalParameters); d != "" {
		t.Errorf("external parameters: %s", d)
	}
	details := v.Predicate.RunDetails
	if details.Metadata.InvocationID != digest.Of(f.ReceiptBytes).String() {
		t.Errorf("invocation %s", details.Metadata.InvocationID)
	}
	if got := details.Metadata.FinishedOn.Sub(*details.Metadata.StartedOn); got != f.Receipt.Duration {
		t.Errorf("took %v", got)
	}
	if d := cmp.Diff([]string{f.ReceiptName, "log of build"}, namesOf(details.Byproducts)); d != "" {
		t.Errorf("byproducts: %s", d)
	}
	if strings.Contains(string(text), "make test") {
		t.Error("the command's text is in it")
	}
}

func TestForStep(t *testing.T) {
	text, err := intoto.ForStep(facts(t), "test")
	v := read(t, text, err)
	if d := cmp.Diff([]string{"report.txt"}, namesOf(v.Subject)); d != "" {
		t.Errorf("subjects: %s", d)
	}
	if d := cmp.Diff([]string{"source", "dist/app", "dist/doc/"}, namesOf(v.Predicate.BuildDefinition.ResolvedDependencies)); d != "" {
		t.Errorf("dependencies: %s", d)
	}
	if v.Predicate.RunDetails.Metadata.StartedOn != nil {
		t.Error("a receipt does not say when a step began")
	}
}

func TestBuilder(t *testing.T) {
	const base = "https://github.com/attest-pipeline/attest/builder/"
	tests := []struct {
		levels [2]string
		want   string
	}{
		{[2]string{"process", "process"}, "local-process@v0.1"},
		{[2]string{"container", "container"}, "local-container@v0.1"},
		{[2]string{"container", "process"}, "local-process@v0.1"},
		{[2]string{"process", "container"}, "local-process@v0.1"},
	}
	for _, tt := range tests {
		f := facts(t)
		f.Receipt.Steps[0].Isolation, f.Receipt.Steps[1].Isolation = tt.levels[0], tt.levels[1]
		text, err := intoto.ForRun(finish(t, f))
		if got := read(t, text, err).Predicate.RunDetails.Builder.ID; got != base+tt.want {
			t.Errorf("%v: got %s", tt.levels, got)
		}
	}
}

func TestRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*intoto.Facts)
		want   error
	}{
		{"a failed run", func(f *intoto.Facts) { f.Receipt.Status = receipt.Failed }, intoto.ErrNotSucceeded},
		{"an interrupted run", func(f *intoto.Facts) { f.Receipt.Status = receipt.Interrupted }, intoto.ErrNotSucceeded},
		{"no tree of outputs", func(f *intoto.Facts) { f.Outputs = nil }, nil},
		{"another step's tree", func(f *intoto.Facts) { f.Outputs["build"] = f.Outputs["test"] }, nil},
		{"another digest", func(f *intoto.Facts) { f.Receipt.Steps[1].Outputs[0].Hash = digest.Of(nil) }, nil},
		{"another second digest", func(f *intoto.Facts) { f.Receipt.Steps[1].Outputs[0].SHA256 = digest.OfSHA256(nil) }, nil},
		{"another mode", func(f *intoto.Facts) { f.Receipt.Steps[1].Outputs[0].Mode = "0755" }, nil},
		{"no receipt", func(f *intoto.Facts) { f.ReceiptBytes = nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := facts(t)
			tt.change(&f)
			text, err := intoto.ForRun(f)
			if text != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %s, %v", text, err)
			}
		})
	}
	f := facts(t)
	f.Receipt.Steps[1].Status = receipt.Failed
	if _, err := intoto.ForStep(f, "test"); !errors.Is(err, intoto.ErrNotSucceeded) {
		t.Errorf("a failed step: %v", err)
	}
	if _, err := intoto.ForStep(f, "none"); err == nil {
		t.Error("a step that is not there")
	}
}

// left makes the facts of a run whose first step left a folder of these names.
func left(t *testing.T, entries []tree.Entry, folder string) intoto.Facts {
	t.Helper()
	f := facts(t)
	made, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	f.Outputs = map[string]tree.Tree{"build": made}
	f.Receipt.Steps = f.Receipt.Steps[:1]
	f.Receipt.Steps[0].Outputs = nil
	if folder != "" {
		listing := made.Below(folder).Listing()
		f.Receipt.Steps[0].Outputs = []receipt.Path{{Path: folder, Hash: digest.Of(listing), SHA256: digest.OfSHA256(listing)}}
	} else {
		for _, e := range made.Entries() {
			f.Receipt.Steps[0].Outputs = append(f.Receipt.Steps[0].Outputs, receipt.Path{Path: e.Path, Mode: receipt.ModeOf(e), Hash: e.Digest, SHA256: e.SHA256})
		}
	}
	return finish(t, f)
}

func file(name string) tree.Entry {
	return tree.Entry{Path: name, Kind: tree.File, Perm: 0o644, Digest: digest.Of([]byte(name)), SHA256: digest.OfSHA256([]byte(name))}
}

func many(n int) []tree.Entry {
	var entries []tree.Entry
	for i := range n {
		entries = append(entries, file(fmt.Sprintf("dist/%05d", i)))
	}
	return entries
}

func TestSubjects(t *testing.T) {
	link := tree.Entry{Path: "dist/link", Kind: tree.Symlink, Digest: digest.Of([]byte("x")), SHA256: digest.OfSHA256([]byte("x"))}
	tests := []struct {
		name    string
		entries []tree.Entry
		folder  string
		want    int
		first   string
	}{
		{"as many files as fit", many(1024), "dist/", 1024, "dist/00000"},
		{"one file more: the folder", many(1025), "dist/", 1, "dist/"},
		{"single files, too many: the receipt", many(1025), "", 1, "receipt_20261201_143052.yaml"},
		{"a name that JSON cannot hold: the folder", append(many(1), file("dist/\xff")), "dist/", 1, "dist/"},
		{"nothing but a link in a folder: the folder", []tree.Entry{link}, "dist/", 1, "dist/"},
		{"nothing but a link: the receipt", []tree.Entry{link}, "", 1, "receipt_20261201_143052.yaml"},
		{"a link beside a file", append(many(1), link), "dist/", 1, "dist/00000"},
		{"nothing: the receipt", nil, "", 1, "receipt_20261201_143052.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := intoto.ForRun(left(t, tt.entries, tt.folder))
			v := read(t, text, err)
			if len(v.Subject) != tt.want || v.Subject[0].Name != tt.first {
				t.Errorf("%d subjects, the first is %s", len(v.Subject), v.Subject[0].Name)
			}
			for _, s := range v.Subject {
				if len(s.Digest["sha256"]) != 64 || len(s.Digest["blake3"]) != 64 {
					t.Errorf("%s: digests %v", s.Name, s.Digest)
				}
			}
		})
	}
}

func TestManyDependencies(t *testing.T) {
	f := left(t, nil, "")
	for i := range 1025 {
		f.Receipt.Steps[0].Inputs = append(f.Receipt.Steps[0].Inputs, receipt.Path{Path: fmt.Sprintf("t/%05d", i), Mode: "0644", Hash: digest.Of(nil)})
	}
	text, err := intoto.ForRun(finish(t, f))
	all := read(t, text, err).Predicate.BuildDefinition.ResolvedDependencies
	if last := all[len(all)-1]; len(all) != 3 || last.Name != "inputs" || len(last.Digest["blake3"]) != 64 {
		t.Errorf("got %d, the last is %+v", len(all), last)
	}
}

// TestFetched: what came over a recorded network is a dependency, each thing
// once, whatever step got it.
func TestFetched(t *testing.T) {
	f := facts(t)
	one := receipt.Fetch{URL: "https://example.org/one.tar.gz", SHA256: digest.OfSHA256([]byte("1"))}
	two := receipt.Fetch{URL: "https://example.org/two.tar.gz", SHA256: digest.OfSHA256([]byte("2"))}
	f.Receipt.Steps[0].Network, f.Receipt.Steps[0].Fetched = "recorded", []receipt.Fetch{one, two}
	f.Receipt.Steps[1].Network, f.Receipt.Steps[1].Fetched = "recorded", []receipt.Fetch{two}
	f = finish(t, f)
	text, err := intoto.ForRun(f)
	var got []receipt.Fetch
	for _, d := range read(t, text, err).Predicate.BuildDefinition.ResolvedDependencies {
		if strings.HasPrefix(d.URI, "https://") {
			sum, err := digest.Parse("sha256:" + d.Digest["sha256"])
			if err != nil || d.Name != "" {
				t.Errorf("%+v: %v", d, err)
			}
			got = append(got, receipt.Fetch{URL: d.URI, SHA256: sum})
		}
	}
	if diff := cmp.Diff([]receipt.Fetch{one, two}, got, cmp.AllowUnexported(digest.Digest{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
