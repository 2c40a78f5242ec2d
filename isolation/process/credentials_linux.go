// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// credential is a file or folder in which programs keep what lets them act as
// somebody: keys, tokens, passwords.
type credential struct {
	path string // below a home
	// marks are words by one of which a file that need not hold a credential is
	// known to hold one. Without any, it is taken to hold nothing else.
	marks []string
}

// homeCredentials are those of a home. Programs that fetch what a build needs
// know most of these files; a step that is to act as the user declares what it
// needs as a secret with a mount.
func homeCredentials() []credential {
	npm := []string{"_auth", "_password"}
	maven := []string{"<password", "<passphrase", "<privateKey"}
	return []credential{
		{".aws", nil},
		{".azure", nil},
		{".boto", nil},
		{".cargo/credentials", nil},
		{".cargo/credentials.toml", nil},
		{".composer/auth.json", nil},
		{".config/composer/auth.json", nil},
		{".config/containers/auth.json", nil},
		{".config/doctl", nil},
		{".config/gcloud", nil},
		{".config/gh", nil},
		{".config/git/credentials", nil},
		{".config/glab-cli", nil},
		{".config/hcloud", nil},
		{".config/hub", nil},
		{".config/op", nil},
		{".config/rclone", nil},
		{".config/sops", nil},
		{".docker/config.json", nil},
		{".gem/credentials", nil},
		{".git-credentials", nil},
		{".gnupg", nil},
		{".gradle/gradle.properties", []string{"assword", "oken", "ecret"}},
		{".kube", nil},
		{".local/share/gem/credentials", nil},
		{".local/share/keyrings", nil},
		{".m2/settings-security.xml", nil},
		{".m2/settings.xml", maven},
		{".netrc", nil},
		{".npmrc", npm},
		{".oci", nil},
		{".password-store", nil},
		{".pypirc", nil},
		{".s3cfg", nil},
		{".ssh", nil},
		{".terraform.d/credentials.tfrc.json", nil},
		{".vault-token", nil},
		{".yarnrc.yml", []string{"npmAuth"}},
	}
}

// hostCredentials are those of the machine itself, as patterns of filepath.Glob.
func hostCredentials() []string {
	return []string{
		"/etc/gshadow", "/etc/gshadow-", "/etc/shadow", "/etc/shadow-",
		"/etc/krb5.keytab", "/etc/ssh/ssh_host_*_key", "/etc/ssl/private",
		"/run/secrets/kubernetes.io", "/var/lib/kubelet/pki", "/etc/rancher/k3s/k3s.yaml",
	}
}

// vault remembers, by the homes that were meant, which credentials are there. The
// zero value remembers none. Safe for concurrent use.
type vault struct {
	mu    sync.Mutex
	known map[string][]string
}

// credentials returns the paths of the credentials that are there and in which
// the project does not lie: of the machine, of the home that a step with this
// environment has, and of the one that attest itself has; for root, of every
// user.
func (e *Executor) credentials(project string, env []string) []string {
	homes := []string{homeIn(e.options.Environ), homeIn(env)}
	key := strings.Join(append(homes, project), "\x00")
	v := &e.keepers.vault
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.known[key]
	if ok {
		return found
	}
	patterns := hostCredentials()
	if os.Geteuid() == 0 {
		others, _ := filepath.Glob("/home/*") // the pattern is well formed
		homes = append(append(homes, "/root"), others...)
	}
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern)
		found = append(found, matches...)
	}
	slices.Sort(homes)
	for _, home := range slices.Compact(homes) {
		if home != "" {
			found = append(found, credentialsIn(home)...)
		}
	}
	found = slices.DeleteFunc(found, func(path string) bool {
		_, inside := below(project, path)
		return inside
	})
	if v.known == nil {
		v.known = map[string][]string{}
	}
	v.known[key] = found
	return found
}

// concealed returns the credentials of the user that a step with this protection
// and environment does not see, ordered: those that are hidden and in whose place
// no secret of its own stands.
func (e *Executor) concealed(p protection, job executor.Job, env []string) []string {
	if p.spaces&unix.CLONE_NEWNS == 0 {
		return nil
	}
	home := homeIn(env)
	var given []string
	for _, s := range mounted(job) {
		if rest, ok := strings.CutPrefix(s.Mount, "~/"); ok {
			s.Mount = filepath.Join(home, rest)
		}
		given = append(given, s.Mount)
	}
	in := func(path, dir string) bool { _, ok := below(path, dir); return ok && dir != "" }
	var all []string
	for _, path := range e.credentials(job.Root, env) {
		instead := slices.ContainsFunc(given, func(mount string) bool { return in(mount, path) })
		if !instead && (in(path, homeIn(e.options.Environ)) || in(path, home)) {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// credentialsIn returns the paths of the credentials in a home. Where one is a
// symbolic link, it is what the link leads to.
func credentialsIn(home string) []string {
	var found []string
	for _, c := range homeCredentials() {
		path := filepath.Join(home, filepath.FromSlash(c.path))
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if err == nil && (len(c.marks) == 0 || holds(real, c.marks)) {
			found = append(found, real)
		}
	}
	return found
}

// holds reports whether the first megabyte of a file has one of the words. One
// that cannot be read here cannot be read by a step either.
func holds(path string, words []string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return err == nil && slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(data, []byte(w)) })
}

// homeIn returns the HOME of an environment, empty where it names none.
func homeIn(env []string) string {
	for _, v := range slices.Backward(env) {
		if home, ok := strings.CutPrefix(v, "HOME="); ok && filepath.IsAbs(home) {
			return filepath.Clean(home)
		}
	}
	return ""
}
