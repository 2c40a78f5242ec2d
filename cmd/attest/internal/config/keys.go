// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Key is one setting: its names, its default and what it accepts.
type Key struct {
	Name    string // in config.yaml and on the command line
	Env     string // the environment variable that overrides the file
	Default string
	Values  string // what it accepts, for people
	Help    string // one line

	check func(string) error
}

// The names of the keys.
const (
	CacheDir      = "cache_dir"
	Deterministic = "deterministic"
	Engine        = "engine"
	Isolation     = "isolation"
	Jobs          = "jobs"
	KeepGoing     = "keep_going"
	Progress      = "progress"
	Sign          = "sign"
	Verify        = "verify"
	VMKernel      = "vm.kernel"
)

// Keys returns every key, ordered by name. Each changes what `attest run`
// does.
func Keys() []Key {
	return []Key{
		{CacheDir, "ATTEST_CACHE_DIR", ".attest/cache", "a folder; a relative path starts at the project",
			"where results are kept; projects may share one", notEmpty},
		{Deterministic, "ATTEST_DETERMINISTIC", "false", "true, false",
			"fix what steps would take from the world: time, host, environment", boolean},
		{Engine, "ATTEST_ENGINE", "embedded", "embedded, unix://, tcp://, docker-container://, or a buildx builder's name",
			"the BuildKit that runs container steps", notEmpty},
		{Isolation, "ATTEST_ISOLATION", "auto", "auto, process, container, vm",
			"the level of every step; auto: as attest.yaml says", oneOf("auto", "process", "container", "vm")},
		{Jobs, "ATTEST_JOBS", "auto", "auto or a number from 1",
			"how many steps run at once; auto: one more than processors", jobs},
		{KeepGoing, "ATTEST_KEEP_GOING", "false", "true, false",
			"after a failure, run the steps that do not depend on it", boolean},
		{Progress, "ATTEST_PROGRESS", "auto", "auto, tty, plain, json, quiet",
			"how progress is shown", oneOf("auto", "tty", "plain", "json", "quiet")},
		{Sign, "ATTEST_SIGN", "false", "true, false",
			"sign the receipt", boolean},
		{Verify, "ATTEST_VERIFY", "false", "true, false",
			"verify the receipt after the run", boolean},
		{VMKernel, "ATTEST_VM_KERNEL", "auto", "auto, or the path of a vmlinuz; a relative path starts at the project",
			"the kernel of virtual machines; auto: the distribution's", notEmpty},
	}
}

// Check says what is wrong with a value for the key; nil where it is accepted.
func (k Key) Check(value string) error {
	if err := k.check(value); err != nil {
		return fmt.Errorf("%s: %w", k.Name, err)
	}
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(s string) error {
		for _, v := range values {
			if s == v {
				return nil
			}
		}
		return fmt.Errorf("%q is not one of %s", s, strings.Join(values, ", "))
	}
}

func notEmpty(s string) error {
	if strings.TrimSpace(s) == "" {
		return fmt.Errorf("it is empty")
	}
	return nil
}

func boolean(s string) error { return oneOf("true", "false")(s) }

// maxJobs bounds what a typing error can ask for.
const maxJobs = 1024

func jobs(s string) error {
	if s == "auto" {
		return nil
	}
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > maxJobs || strconv.Itoa(n) != s {
		return fmt.Errorf("%q is neither auto nor a number from 1 to %d", s, maxJobs)
	}
	return nil
}
