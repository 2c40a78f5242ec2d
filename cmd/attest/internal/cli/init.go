// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/cmd/attest/internal/scaffold"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

type initCmd struct {
	Steps     []string `arg:"" optional:"" name:"step" help:"With --from-trace: only these steps."`
	Template  string   `placeholder:"NAME" help:"Write this template instead of what fits best."`
	Force     bool     `help:"Overwrite the attest.yaml that is there."`
	FromTrace bool     `help:"Add to the attest.yaml that is there what steps used in the last attest run --trace and do not declare."`
	pipelineFlag
	jsonFlag
}

// Help lists the templates.
func (initCmd) Help() string {
	var b strings.Builder
	b.WriteString("Writes an attest.yaml that runs on the project in the working folder, with the tools of this machine. An attest.yaml that is there stays. Templates:\n\n")
	for _, t := range scaffold.Templates() {
		fmt.Fprintf(&b, "    %-8s %s\n", t.Name, t.Help)
	}
	b.WriteString(`
With --from-trace, steps that were traced get the inputs and outputs that they lack, and everything else in the file stays as it is. What a step read, executed or asked after becomes an input, what was not there an input that may be absent, what it wrote an output; a file that another step leaves becomes a need. A folder is named as a whole where at least three in four of its files were used, or where it would take more than twelve entries; three or more files of a kind in a folder, or of a kind through five or more folders, become a pattern under the same condition. Of a step that failed, what it looked for in vain becomes an input where it is in the project, as it is under --strict for what was not declared, and a need where another step leaves it. Nothing is taken out: what nobody opened, the run says.

Examples:

    attest init
    attest init --template hello
    attest run --trace build && attest init --from-trace build
`)
	return b.String()
}

// Run writes attest.yaml, .attest and what git is to ignore.
func (c *initCmd) Run(ctx context.Context, env *Env) error {
	if c.FromTrace {
		return c.fromTrace(ctx, env)
	}
	if len(c.Steps) > 0 || c.File != "attest.yaml" {
		return &usageError{err: errors.New("steps and -f go with --from-trace alone")}
	}
	dir, err := os.OpenRoot(env.Dir) // a link out of the project is not followed
	if err != nil {
		return fmt.Errorf("opening the project: %w", err)
	}
	defer dir.Close()
	project := dir.FS()
	template := scaffold.Detect(project)
	if c.Template != "" {
		if template, err = scaffold.Find(c.Template); err != nil {
			return &usageError{err: err}
		}
		if !template.Fits(project) {
			return &usageError{err: fmt.Errorf("template %s: this folder is not %s", template.Name, template.Help)}
		}
	}
	folder := filepath.Base(env.Dir)
	if err := c.write(dir, template.Pipeline(project, folder)); err != nil {
		return err
	}
	if err := engine.MakeStateDir(env.Dir); err != nil {
		return err
	}
	if err := addLines(dir, ".gitignore", stateDir+"/"); err != nil {
		return err
	}
	if err := addLines(dir, ".attestignore", notIgnored(project, template.Ignored(project, folder))...); err != nil {
		return err
	}
	if env.json {
		env.result = struct {
			File     string `json:"file"`
			Template string `json:"template"`
		}{env.short(filepath.Join(env.Dir, "attest.yaml")), template.Name}
		return nil
	}
	return env.print("wrote attest.yaml for %s\nnext: attest run", template.Help)
}

// write makes attest.yaml, which must not be there unless it is to be replaced.
func (c *initCmd) write(dir *os.Root, text []byte) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := dir.OpenFile("attest.yaml", flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &executor.HintedError{
			Err: errors.New("attest.yaml is there already"), Hints: []string{"--force overwrites it"},
		}
	}
	if err != nil {
		return fmt.Errorf("writing attest.yaml: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// notIgnored returns the lines that .gitignore does not have: what it has, no
// step takes as an input either.
func notIgnored(project fs.FS, lines []string) []string {
	data, _ := fs.ReadFile(project, ".gitignore")
	have := strings.Fields(string(data))
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		name := strings.Trim(l, "/")
		return slices.ContainsFunc(have, func(h string) bool { return strings.Trim(h, "/") == name })
	})
}

// addLines appends the lines that a file does not have, making the file where
// there is none.
func addLines(dir *os.Root, name string, lines ...string) error {
	data, err := dir.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	var add strings.Builder
	if len(data) > 0 && data[len(data)-1] != '\n' {
		add.WriteString("\n")
	}
	missing := false
	for _, l := range lines {
		if !slices.Contains(have, l) {
			add.WriteString(l + "\n")
			missing = true
		}
	}
	if !missing {
		return nil
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(add.String())
	return errors.Join(err, f.Close())
}
