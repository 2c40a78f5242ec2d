// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestIgnoreLikeGit makes projects at random, ignore files included, and wants
// the files that git finds not to be ignored.
func TestIgnoreLikeGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("the test needs git: ", err)
	}
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		items := []string{".attestignore: "}
		for range 40 {
			items = append(items, randomPath(r))
		}
		for _, dir := range []string{"", "a/", "a/b/", "bb/"} {
			items = append(items, dir+".gitignore: "+randomRules(r))
		}
		items = withoutClashes(items)
		root := project(t, items...)
		want := notIgnored(t, git, root.Name())
		got := inputs(t, root, "cache: true")
		got = slices.DeleteFunc(got, func(name string) bool { return strings.HasSuffix(name, "/") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, %q:\n%s", seed, items, diff)
		}
	}
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

func randomPath(r *rand.Rand) string {
	parts := []string{}
	for range 1 + r.IntN(4) {
		parts = append(parts, pick(r, "a", "b", "bb", "c.o", "d", "foo.txt", "sp ace", "#hash", "!bang", "x*y", "]", "-"))
	}
	return strings.Join(parts, "/")
}

func randomRules(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(7) {
		if r.IntN(4) == 0 {
			b.WriteString("!")
		}
		if r.IntN(3) == 0 {
			b.WriteString("/")
		}
		for i := range 1 + r.IntN(3) {
			if i > 0 {
				b.WriteString("/")
			}
			b.WriteString(pick(r, "a", "b", "bb", "*", "**", "*.o", "?", "[ab]", "[!a]", "[a-c]*", "c.o", "foo.*", "*o*", "sp ace",
				`\#hash`, `\!bang`, "#hash", `x\*y`, "b*", "**b", "***", "[]]", "[]-]", "[[:alpha:]]", "[[:nope:]]", "[a", `a\`, "[^b]*", "[a-", "d"))
		}
		b.WriteString(pick(r, "", "", "", "/", " ", `\ `, "\r", "//"))
		b.WriteString("\n")
	}
	return b.String()
}

// withoutClashes drops paths that lead through another that is a file.
func withoutClashes(items []string) []string {
	taken := map[string]bool{} // true for files
	var kept []string
	for _, item := range items {
		name, _, _ := strings.Cut(item, ": ")
		if _, there := taken[name]; there {
			continue
		}
		clash := false
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			clash = clash || taken[dir]
		}
		if clash {
			continue
		}
		taken[name] = true
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			taken[dir] = false
		}
		kept = append(kept, item)
	}
	return kept
}

// notIgnored asks git in a repository of its own, without the user's settings.
func notIgnored(t *testing.T, git, dir string) []string {
	t.Helper()
	run := func(args ...string) []byte {
		cmd := exec.Command(git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+t.TempDir(), "GIT_CEILING_DIRECTORIES=/")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(fmt.Errorf("git %q: %w", args, err))
		}
		return out
	}
	run("init", "-q")
	out := run("-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard")
	names := []string{}
	for name := range bytes.SplitAfterSeq(out, []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name[:len(name)-1]))
		}
	}
	slices.Sort(names)
	return names
}
