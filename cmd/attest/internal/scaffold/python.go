// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pythonProject parses every source, runs the tests that are there, and packs
// the sources.
func pythonProject(project fs.FS, folder string) draft {
	name := folder
	if m := regexp.MustCompile(`(?m)^name\s*=\s*["']([^"']+)["']`).FindSubmatch(read(project, "pyproject.toml")); m != nil {
		name = string(m[1])
	}
	d := draft{
		name: projectName(name, folder), image: "python:3-slim",
		env:     [][2]string{{"PYTHONDONTWRITEBYTECODE", "1"}},
		ignored: []string{"__pycache__/", ".pytest_cache/", ".venv/"},
	}
	sources := pythonSources(project)
	d.steps = append(d.steps, step{
		name: "check",
		run: "find " + words(sources) + " -name '*.py' -print0 |\n" +
			"  xargs -0 -r python3 -c 'import ast, sys; [ast.parse(open(f, \"rb\").read(), f) for f in sys.argv[1:]]'",
	})
	needs := []string{"check"}
	if run := pythonTests(project); run != "" {
		d.steps = append(d.steps, step{name: "test", run: run, needs: needs})
		needs = []string{"test"}
	}
	archive := "dist/" + d.name + ".tar.gz"
	d.steps = append(d.steps, step{
		name: "archive",
		run: "mkdir -p dist\ntar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \\\n" +
			"  --exclude=__pycache__ -cf - " + words(sources) + " | gzip -n > " + archive,
		outputs: []string{archive}, needs: needs,
	})
	return d
}

// pythonSources returns the modules and packages at the top of the project;
// what says that it is a Python project where there are none.
func pythonSources(project fs.FS) []string {
	var found []string
	entries, _ := fs.ReadDir(project, ".")
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasPrefix(name, "."), strings.ContainsAny(name, "'\n"):
		case !e.IsDir() && path.Ext(name) == ".py":
			found = append(found, name)
		case e.IsDir() && (name == "src" || name == "tests" || name == "test" || isFile(project, path.Join(name, "__init__.py"))):
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return slices.DeleteFunc(pythonMarks(), func(n string) bool { return !isFile(project, n) })
	}
	return found
}

// pythonMarks are the files that make a folder a Python project.
func pythonMarks() []string { return []string{"pyproject.toml", "requirements.txt", "setup.py"} }

// pythonTests is the command that runs the tests; empty where there are none.
func pythonTests(project fs.FS) string {
	folder := ""
	for _, candidate := range []string{"tests", "test", "."} {
		for _, pattern := range []string{"test*.py", "*_test.py", "*/test*.py"} {
			if found, _ := fs.Glob(project, path.Join(candidate, pattern)); len(found) > 0 && folder == "" {
				folder = candidate
			}
		}
	}
	if folder == "" {
		return ""
	}
	for _, name := range []string{"pyproject.toml", "requirements.txt", "requirements-dev.txt", "setup.cfg", "setup.py", "tox.ini"} {
		if bytes.Contains(read(project, name), []byte("pytest")) {
			return "python3 -m pytest -p no:cacheprovider"
		}
	}
	if isFile(project, "pytest.ini") || isFile(project, path.Join(folder, "conftest.py")) || isFile(project, "conftest.py") {
		return "python3 -m pytest -p no:cacheprovider"
	}
	if isFile(project, path.Join(folder, "__init__.py")) {
		return "python3 -m unittest discover -s " + shellWord(folder) + " -t ."
	}
	return "python3 -m unittest discover -s " + shellWord(folder)
}

func words(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}
