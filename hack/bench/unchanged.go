// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// packages is how many packages the repository has, each of them one step.
const packages = 10

// unchanged measures runs that find nothing to do, in a small repository and in
// a large one.
func (b *bench) unchanged(ctx context.Context) error {
	err := b.unchangedIn(ctx, "unchanged, 10 steps of 100 files", 100, b.rounds, func(work string, m *monorepo) {
		b.atMost(work, m.attest, 0.5, m.turbo)
		b.atMost(work, m.attest, 3, m.git)
	})
	if err != nil {
		return err
	}
	return b.unchangedIn(ctx, "unchanged, 10 steps of 10,000 files", 10_000, b.slow, func(work string, m *monorepo) {
		b.atMost(work, m.attest, 1.2, m.git)
		b.atMost(work, m.attest, 0.25, m.turbo)
	})
}

// monorepo is what is measured in a repository.
type monorepo struct {
	attest, turbo, task, make, git, start *series
}

func (b *bench) unchangedIn(ctx context.Context, work string, files, rounds int, judge func(string, *monorepo)) error {
	dir, done, err := b.folder("unchanged")
	defer done()
	if err != nil {
		return err
	}
	if err := b.writeMonorepo(ctx, dir, files); err != nil {
		return err
	}
	m := &monorepo{
		attest: b.running(ctx, "attest run", dir, b.attest, "run"),
		turbo:  b.running(ctx, "turbo run build", dir, b.peers["turbo"], "run", "build"),
		task:   b.running(ctx, "task", dir, b.peers["task"]),
		make:   b.running(ctx, "make -r", dir, b.peers["make"], "-r"),
		git:    b.running(ctx, "git status", dir, b.peers["git"], "status"),
		start:  b.running(ctx, "attest --version", dir, b.attest, "--version"),
	}
	if err := b.fillCaches(ctx, dir); err != nil {
		return err
	}
	all := []*series{m.attest}
	for _, peer := range []struct {
		name string
		*series
	}{{"turbo", m.turbo}, {"task", m.task}, {"make", m.make}, {"git", m.git}} {
		if b.peers[peer.name] != "" {
			all = append(all, peer.series)
		}
	}
	all = append(all, m.start)
	if err := takeTurns(rounds, all...); err != nil {
		return err
	}
	if err := b.foundNothingToDo(ctx, dir); err != nil {
		return err
	}
	table(fmt.Sprintf("Nothing changed: %d steps, %d files of 4 KB each", packages, files), all...)
	judge(work, m)
	return nil
}

// fillCaches has each tool do the work, and run twice more: the first runs after
// it may still note what they saw.
func (b *bench) fillCaches(ctx context.Context, dir string) error {
	commands := [][]string{{b.attest, "run"}}
	for _, c := range [][]string{{"turbo", "run", "build"}, {"task"}, {"make", "-r"}, {"git", "status"}} {
		if path := b.peers[c[0]]; path != "" {
			commands = append(commands, append([]string{path}, c[1:]...))
		}
	}
	// What was changed in the second of a look at it is looked at again.
	time.Sleep(2 * time.Second)
	for range 3 {
		for _, c := range commands {
			if _, err := b.do(ctx, dir, c...); err != nil {
				return err
			}
		}
	}
	return nil
}

// foundNothingToDo makes sure that what was measured is what was to be.
func (b *bench) foundNothingToDo(ctx context.Context, dir string) error {
	if _, err := b.do(ctx, dir, b.attest, "run", "--expect-cached"); err != nil {
		return err
	}
	for _, check := range [][]string{
		{"turbo", "FULL TURBO", "run", "build"}, {"task", "is up to date"}, {"make", "Nothing to be done", "-r"}, {"git", "working tree clean", "status"},
	} {
		path := b.peers[check[0]]
		if path == "" {
			continue
		}
		switch out, err := b.do(ctx, dir, append([]string{path}, check[2:]...)...); {
		case err != nil:
			return err
		case !strings.Contains(out, check[1]):
			return fmt.Errorf("%s does not say %q:\n%s", check[0], check[1], out)
		}
	}
	return nil
}

// writeMonorepo writes a repository with one commit, for all tools to work in.
func (b *bench) writeMonorepo(ctx context.Context, dir string, files int) error {
	const build = "mkdir -p dist && find src -type f | wc -l > dist/out"
	texts := map[string]string{
		".gitignore":        "dist/\n.attest/\n.turbo/\nnode_modules/\n.task/\n",
		"package.json":      `{"name": "bench", "private": true, "packageManager": "npm@10.0.0", "workspaces": ["packages/*"]}` + "\n",
		"package-lock.json": npmLock(),
		"turbo.json":        `{"tasks": {"build": {"outputs": ["dist/**"]}}}` + "\n",
		"Taskfile.yml":      taskfile(build),
		"Makefile":          makefile(build),
		"attest.yaml":       attestYAML(build),
	}
	for i := range packages {
		texts[fmt.Sprintf("packages/p%d/package.json", i)] =
			fmt.Sprintf(`{"name": "p%d", "version": "1.0.0", "scripts": {"build": %q}}`+"\n", i, build)
	}
	if err := writeTexts(dir, texts); err != nil {
		return err
	}
	for i := range packages {
		if err := writeFiles(filepath.Join(dir, fmt.Sprintf("packages/p%d/src", i)), files, fileSize); err != nil {
			return err
		}
	}
	git := b.peers["git"]
	if git == "" {
		return nil
	}
	for _, c := range [][]string{
		{git, "init", "--quiet"},
		{git, "add", "--all"},
		{git, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0", "commit", "--quiet", "--message=all"},
	} {
		if _, err := b.do(ctx, dir, c...); err != nil {
			return err
		}
	}
	return nil
}

func attestYAML(build string) string {
	text := "version: \"0.1\"\nname: bench\nsteps:\n"
	for i := range packages {
		text += fmt.Sprintf("  p%[1]d: {run: %[2]q, working_dir: packages/p%[1]d, inputs: [packages/p%[1]d/package.json, packages/p%[1]d/src/], outputs: [packages/p%[1]d/dist/out]}\n", i, build)
	}
	return text
}

func taskfile(build string) string {
	text, all := "", ""
	for i := range packages {
		all += fmt.Sprintf(" p%d,", i)
		text += fmt.Sprintf("  p%d: {dir: packages/p%[1]d, method: checksum, sources: [package.json, 'src/**/*'], generates: [dist/out], cmds: [%q]}\n", i, build)
	}
	return "version: '3'\ntasks:\n  default: {deps: [" + strings.Trim(all, " ,") + "]}\n" + text
}

// makefile is for make -r: with its built-in rules, make looks for many files
// that could become one of these.
func makefile(build string) string {
	text, all := "", ""
	for i := range packages {
		target := fmt.Sprintf("packages/p%d/dist/out", i)
		all += " " + target
		text += fmt.Sprintf("%[1]s: packages/p%[2]d/package.json $(shell find packages/p%[2]d/src -type f)\n\tcd packages/p%[2]d && %[3]s\n", target, i, build)
	}
	return "all:" + all + "\n.PHONY: all\n" + text
}

// npmLock is what npm would write here: without it turbo warns.
func npmLock() string {
	text := `{"name": "bench", "lockfileVersion": 3, "packages": {"": {"name": "bench", "workspaces": ["packages/*"]}`
	for i := range packages {
		text += fmt.Sprintf(`, "packages/p%[1]d": {"name": "p%[1]d", "version": "1.0.0"}, "node_modules/p%[1]d": {"resolved": "packages/p%[1]d", "link": true}`, i)
	}
	return text + "}}\n"
}
