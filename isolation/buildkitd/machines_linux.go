// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/buildkit/executor"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/progress"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/attest-pipeline/attest/isolation/diskspace"
	"github.com/attest-pipeline/attest/isolation/vm"
	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

var (
	// errMachineTalk says that a client asks for what there is not.
	errMachineTalk = errors.New("a process in a virtual machine has no terminal and no input")
	// errNoProxyNetwork cannot be: the machine would be in this host's network.
	errNoProxyNetwork = errors.New("the proxy has no network namespace")
)

// takeSettings takes the settings of a virtual machine out of a definition.
// They are in the place of the parent cgroup, which such a step has not: a
// field that is the client's alone. There are none for a container.
func takeSettings(meta *executor.Meta) (*vm.Settings, error) {
	s, ok, err := vm.ParseSettings(meta.CgroupParent)
	if err != nil || !ok {
		return nil, err
	}
	meta.CgroupParent = ""
	return &s, nil
}

// runMachine runs in a virtual machine what would be a container. The client
// learns from the progress what the machine is, when the command begins.
func (s *steps) runMachine(ctx context.Context, spec *specs.Spec, st step) error {
	process := st.process
	run := vm.Run{
		Spec: spec, Settings: *st.machine, Network: process.Meta.NetMode != pb.NetMode_NONE,
		Stdout: process.Stdout, Stderr: process.Stderr,
	}
	switch {
	case process.Meta.Proxy != nil:
		// The machine's own loopback is not that of the proxy's namespace, where
		// qemu is, so that it reaches what a container there would.
		if run.Namespace = networkOf(spec); run.Namespace == "" {
			return errNoProxyNetwork
		}
		spec.Process.Env = executor.ReplaceEnv(spec.Process.Env, network.ProxyEnv("http://"+guest.Loopback+doorPort, noProxy))
	case run.Network:
		// This host's name servers may be on its loopback, which is not the machine's.
		text := []byte("nameserver " + guest.NameServer + "\n")
		if err := os.WriteFile(filepath.Join(filepath.Dir(spec.Root.Path), "resolv.conf"), text, 0o644); err != nil {
			return err
		}
	}
	run.Started = func(facts vm.Facts) {
		_ = progress.OneOff(ctx, facts.String())(nil)
		st.begun()
	}
	run.Met = func(limit string) { tellLimit(ctx, limit) }
	code, err := s.machines.Run(ctx, run)
	var full *diskspace.FullError
	switch {
	case errors.As(context.Cause(ctx), &full):
		return full
	case ctx.Err() != nil:
		return &gatewayapi.ExitError{ExitCode: gatewayapi.UnknownExitStatus, Err: context.Cause(ctx)}
	case err != nil:
		return err
	case code == 0 && len(process.Meta.ValidExitCodes) == 0 || slices.Contains(process.Meta.ValidExitCodes, code):
		return nil
	}
	return &gatewayapi.ExitError{ExitCode: uint32(code)}
}

// networkOf returns the path of a container's network namespace, empty where it is
// none of its own.
func networkOf(spec *specs.Spec) string {
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			return n.Path
		}
	}
	return ""
}
