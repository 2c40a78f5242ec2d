// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documents returns the paths, in the module, of the project's files whose name
// ends so.
func documents(t *testing.T, ending string) []string {
	t.Helper()
	root := loaded(t).root
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if d.IsDir() && slices.Contains([]string{".git", ".attest", "bin", "build", "vendor", "testdata"}, d.Name()) {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(rel, ending) {
			found = append(found, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDecisionsAreShortAndInOrder keeps ARCHITECTURE.md's table something to read: a
// decision, its reason, and the figure that decided. Measurements at length belong in
// the message of the commit.
func TestDecisionsAreShortAndInOrder(t *testing.T) {
	const most = 700 // bytes
	_, table, _ := strings.Cut(read(t, filepath.Join(loaded(t).root, "ARCHITECTURE.md")), "\n## Decisions\n")
	table, _, _ = strings.Cut(table, "\n## ")
	last := ""
	for _, row := range regexp.MustCompile(`(?m)^\| (\d{4}-\d\d-\d\d) \| (.*)$`).FindAllStringSubmatch(table, -1) {
		if row[1] < last {
			t.Errorf("of %s, below one of %s: %s", row[1], last, row[2])
		}
		if len(row[2]) > most {
			t.Errorf("%d bytes: %s", len(row[2]), row[2])
		}
		last = row[1]
	}
	if last == "" {
		t.Error("there are no decisions")
	}
}

// TestArchitectureNamesEveryPackage keeps the map complete.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	prog := loaded(t)
	text := read(t, filepath.Join(prog.root, "ARCHITECTURE.md"))
	for _, p := range prog.own {
		if p.Name == "main" && strings.HasPrefix(p.rel(), "hack/") {
			continue
		}
		named := regexp.MustCompile(`(^|[^\w/.-])` + regexp.QuoteMeta(p.rel()) + `($|[^\w/-])`)
		if !named.MatchString(text) {
			t.Errorf("ARCHITECTURE.md does not name %s", p.rel())
		}
	}
}

// TestDocumentsNameWhatExists reads every path in code style that begins with
// a floor, and every relative link. "isolation/engine.Run" is the package.
func TestDocumentsNameWhatExists(t *testing.T) {
	root := loaded(t).root
	inCode := regexp.MustCompile("`((?:" + strings.Join(floors, "|") + "|examples)/[A-Za-z0-9_./-]*)")
	member := regexp.MustCompile(`\.[A-Z]\w*(\.\w+)?$`)
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, doc := range documents(t, ".md") {
		text := read(t, filepath.Join(root, doc))
		for _, m := range inCode.FindAllStringSubmatch(text, -1) {
			name := strings.TrimRight(member.ReplaceAllString(m[1], ""), "./")
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s names %s, which is not there", doc, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}

// TestPipelinesAreValid reads every YAML block in a document that is a whole
// pipeline, and every attest.yaml.
func TestPipelinesAreValid(t *testing.T) {
	root := loaded(t).root
	block := regexp.MustCompile("(?s)```yaml\n(version: .*?)```")
	pipelines := map[string]string{}
	for _, doc := range documents(t, ".md") {
		for i, m := range block.FindAllStringSubmatch(read(t, filepath.Join(root, doc)), -1) {
			pipelines[fmt.Sprintf("%s block %d", doc, i+1)] = m[1]
		}
	}
	for _, name := range documents(t, "attest.yaml") {
		pipelines[name] = read(t, filepath.Join(root, name))
	}
	if len(pipelines) < 5 { // this project's own, three examples, and the README's
		t.Errorf("only %d pipelines were found", len(pipelines))
	}
	for name, text := range pipelines {
		if _, err := pipeline.Parse(&source.File{Name: name, Data: []byte(text)}); err != nil {
			t.Error(err)
		}
	}
}
