// SPDX-License-Identifier: Apache-2.0

// Package compile turns a planned step into LLB, the graph that BuildKit
// solves, with the step's place in attest.yaml attached.
//
// A step is three pieces that fit together: a workspace made of one or more
// states ([Step.Inputs], other steps' outputs) by [Step.Compose], the command in
// it and the outputs it leaves by [Step.Exec], and [Marshal]. A run of one
// step and a graph of all steps differ only in what the workspace is made of.
//
// BuildKit decides nothing here: every operation but the image is marked to be
// executed whatever its cache holds, because its file transfer and its keys
// answer another question than "was exactly this run before". Equal arguments
// give equal definitions, byte for byte. Functions are safe for concurrent use.
package compile

import (
	"fmt"
	"path"
	"time"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Workspace is where a step finds its files, on every run and every machine.
const Workspace = "/workspace"

// scriptDir is where a #! script stands, out of the workspace and read-only.
const scriptDir = "/.attest"

// Image is the root file system of a step.
type Image struct {
	// Ref names it, "golang:1.26@sha256:...". What has no digest compiles too,
	// so that a pipeline can be shown before anything was resolved.
	Ref string
	// Store is the identifier of the session's content store that holds an OCI
	// layout, whose Ref must have a digest. Empty means a registry.
	Store string
	// Env is the image's own environment, "NAME=value".
	Env []string
}

// Step is one step, ready to compile. It is plain data.
type Step struct {
	Name    string
	Command pipeline.Command
	// Env is what the step declares. The image's environment and the base
	// that every container step has (see [Env]) lie below it.
	Env        []pipeline.Var
	WorkingDir string // slash-separated, relative to the project; "." or empty is the project
	Network    pipeline.Network
	Limits     pipeline.Limits // zero fields leave it to the engine
	Secrets    []Secret
	Caches     []Cache
	Image      Image
	Outputs    []pipeline.Pattern
	// Hostname is that of the step; empty means the engine's usual one. To the
	// embedded engine it says more: see launch.WorldFixed.
	Hostname string

	// Machine has the embedded engine run the command in a virtual machine: it
	// is vm.Settings as text. Empty is a container. It must be given to no other
	// engine, which would not know what it means.
	Machine string

	// Pos is the place of the command, in File; File may be nil.
	Pos  source.Pos
	File *source.File

	// Report is the name of a file in the workspace in which the engine says what
	// the command wrote there, see [ReportVariable]; empty asks for none.
	Report string

	// Unfiltered has the definition end with the whole workspace. Whoever exports it
	// is to leave out what [Step.OutputFilter] does.
	Unfiltered bool

	// Run names one execution. Two definitions that are solved at the same
	// time and differ in nothing are executed once by BuildKit and share the
	// result; with two values of Run they are executed twice.
	Run string
}

// New returns the Step of a planned step: with the environment that it
// declares, without what it passes through from the caller.
func New(p *plan.Plan, step plan.Step, image Image) Step {
	s := Step{
		Name: step.Name, Command: step.Run, Env: step.Env, WorkingDir: step.WorkingDir,
		Network: step.Network, Limits: step.Limits, Image: image, Outputs: step.Outputs, Pos: step.RunPos, File: p.Pipeline.File,
	}
	for _, secret := range step.Secrets {
		s.Secrets = append(s.Secrets, Secret{Name: secret.Name, Mount: secret.Mount})
	}
	for _, c := range step.Caches {
		s.Caches = append(s.Caches, Cache{ID: c.Name, Path: c.Path})
	}
	return s
}

// InputsName is the name under which the session serves the files of [Step.Inputs].
const InputsName = "inputs"

// Inputs is the planned tree of the step as the client serves it. hint names
// the snapshot that the daemon keeps of it between runs, to transfer no more
// than what changed; empty keeps none.
func (s Step) Inputs(hint string) llb.State {
	opts := append(s.constraints("inputs"), llb.LocalUniqueID(s.Run))
	local := []llb.LocalOption{llb.SharedKeyHint(hint)}
	for _, o := range opts {
		local = append(local, o)
	}
	return llb.Local(InputsName, local...)
}

// Compose is the folder that the command sees as [Workspace]: the content of
// the parts, copied one after the other, with the working directory made.
func (s Step) Compose(parts ...llb.State) llb.State {
	// The name does not exist and cannot be guessed, so removing it changes
	// nothing but the key under which two executions would be merged.
	action := llb.Rm("/.attest-run-"+s.Run, llb.WithAllowNotFound(true))
	for _, part := range parts {
		action = action.Copy(part, "/", "/", &llb.CopyInfo{CopyDirContentsOnly: true, CreatedTime: &epoch})
	}
	if dir := path.Clean(s.WorkingDir); dir != "." {
		action = action.Mkdir("/"+dir, 0o755, llb.WithParents(true), llb.WithCreatedTime(epoch))
	}
	return llb.Scratch().File(action, s.constraints("workspace")...)
}

// noContentKey keeps BuildKit from reading all files of a mount for a key by
// which it would merge two executions that run at the same time.
var noContentKey = llb.ContentCache(llb.MountContentCacheOff)

// epoch is the time of everything in a workspace: the same on every run, and a
// day behind the earliest that ZIP archives can hold, wherever midnight is.
var epoch = time.Date(1980, time.January, 2, 0, 0, 0, 0, time.UTC) // never written to

// Exec runs the command in the workspace and is what stands there
// afterwards at and below the declared outputs, at paths relative to the
// workspace. A pattern with wildcards may let through more than it matches:
// the reader must look again. A declared output that is missing is no error.
// Where the step is Unfiltered, it is the whole workspace.
func (s Step) Exec(workspace llb.State) (llb.State, error) {
	args, mounts, err := s.command()
	if err != nil {
		return llb.State{}, fmt.Errorf("step %q: %w", s.Name, err)
	}
	env := Env(s.Image.Env, s.Env)
	if err := checkText(args, env); err != nil {
		return llb.State{}, fmt.Errorf("step %q: %w", s.Name, err)
	}
	root, err := s.rootFS()
	if err != nil {
		return llb.State{}, fmt.Errorf("step %q: %w", s.Name, err)
	}
	network := pb.NetMode_NONE
	if s.Network == pipeline.NetworkOpen || s.Network == pipeline.NetworkRecorded {
		network = pb.NetMode_UNSET // which is the proxy's where a solve asks for one
	}
	if s.Hostname != "" {
		root = root.Hostname(s.Hostname)
	}
	run := []llb.RunOption{
		llb.Args(args),
		llb.Dir(path.Join(Workspace, s.WorkingDir)),
		llb.Network(network),
		llb.ReadonlyRootFS(),
	}
	run = append(run, s.folders(root)...)
	run = append(run, s.given()...)
	if s.Machine != "" {
		run = append(run, llb.WithCgroupParent(s.Machine))
	}
	for _, v := range env {
		run = append(run, llb.AddEnv(v.Name, v.Value))
	}
	if s.Report != "" {
		run = append(run, llb.AddEnv(ReportVariable, s.Report)) // over one of the user's
	}
	run = append(run, mounts...)
	for _, o := range s.constraints(runPart) {
		run = append(run, o)
	}
	exec := root.Run(run...)
	after := exec.AddMount(Workspace, workspace, noContentKey)
	if s.Unfiltered {
		return after, nil
	}
	return llb.Scratch().File(
		llb.Copy(after, "/", "/", outputFilter(s.Outputs, s.Report)),
		s.constraints("outputs")...), nil
}
