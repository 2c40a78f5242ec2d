// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"github.com/moby/buildkit/client/llb"
)

// Secret is a secret of a step by the name under which the session has its value,
// which is no part of a definition.
type Secret struct {
	Name  string // of the variable, where Mount is empty
	Mount string // the absolute path of a file that root alone may read
}

// Cache is a folder that the daemon keeps between executions.
type Cache struct {
	ID   string // executions that name one get one folder
	Path string // absolute, in the step
}

// ReportVariable is the variable by which the embedded engine is told
// [Step.Report]. It takes it out of the environment before the command sees it,
// and writes the report when the command has ended, over whatever stands there.
const ReportVariable = "ATTEST_REPORT"

// cpuPeriod is the usual one, in microseconds.
const cpuPeriod = 100_000

// given are the limits, secrets and caches of a step.
func (s Step) given() []llb.RunOption {
	var opts []llb.RunOption
	if n := s.Limits.Memory; n > 0 {
		opts = append(opts, llb.MemoryLimit(n))
	}
	if n := s.Limits.CPUs; n > 0 {
		opts = append(opts, llb.CPUPeriod(cpuPeriod), llb.CPUQuota(int64(n)*cpuPeriod))
	}
	if n := int64(s.Limits.PIDs); n > 0 {
		opts = append(opts, llb.AddUlimit(llb.UlimitNproc, n, n))
	}
	if n := s.Limits.FileSize; n > 0 {
		opts = append(opts, llb.AddUlimit(llb.UlimitFsize, n, n))
	}
	for _, secret := range s.Secrets {
		if secret.Mount == "" {
			opts = append(opts, llb.AddSecretWithDest(secret.Name, nil, llb.SecretAsEnvName(secret.Name)))
		} else {
			opts = append(opts, llb.AddSecret(secret.Mount, llb.SecretID(secret.Name), llb.SecretFileOpt(0, 0, 0o400)))
		}
	}
	for _, c := range s.Caches {
		// Shared, since package managers lock what needs it, and steps that wait
		// for each other's caches could wait for ever.
		opts = append(opts, llb.AddMount(c.Path, llb.Scratch(), llb.AsPersistentCacheDir(c.ID, llb.CacheMountShared)))
	}
	return opts
}
