// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of attest: what can be asked, and how
// answers and errors are shown.
//
// Start with [Main] and grammar, which has one field for each command; every
// command is in the file of its name and does three things: load, call one
// library function, print.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/alecthomas/kong"
)

// global are the flags of every command.
type global struct {
	Directory string      `short:"C" placeholder:"DIR" help:"Work as if started in DIR."`
	Version   versionFlag `help:"Print the version and exit."`
}

// grammar is everything that can be typed.
type grammar struct {
	global

	Init      initCmd      `cmd:"" help:"Write an attest.yaml for the project that is here."`
	Run       runCmd       `cmd:"" help:"Run steps and write a receipt of what happened."`
	Verify    verifyCmd    `cmd:"" help:"Check a receipt against its signature and the files on disk."`
	Reproduce reproduceCmd `cmd:"" help:"Run a receipt's steps again and compare with what it says, bit for bit."`
	Pipeline  pipelineCmd  `cmd:"" help:"Look at the pipeline: show, validate, lock, schema."`
	Cache     cacheCmd     `cmd:"" help:"The results that are kept: stats, explain, gc, verify, clear."`
	Keys      keysCmd      `cmd:"" help:"Make and show the project's keys: generate, list, show."`
	Config    configCmd    `cmd:"" help:"The project's settings: set, get, list."`
	Engine    engineCmd    `cmd:"" help:"The embedded BuildKit engine: status, start, stop."`
	Help      helpCmd      `cmd:"" help:"Explain a command or a topic."`
	About     versionCmd   `cmd:"" name:"version" help:"Print the version and what it was built from."`
}

// runGrammar is the part of grammar that command lines need which begin with
// run. To build all of it takes longer than a run with nothing to do.
type runGrammar struct {
	global
	Run runCmd `cmd:"" help:"Run steps and write a receipt of what happened."`
}

const description = `Run a pipeline in isolation, and leave a receipt that anyone can check.`

// Env is what a command has of the world.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer // results
	Stderr io.Writer // everything else
	// Dir is the absolute path of the working folder.
	Dir     string
	Environ []string // as os.Environ has it
	Now     func() time.Time

	// project is the folder of the pipeline at hand; Dir where there is none.
	project string
	// moved is set when Dir is not where the program was started.
	moved bool
	// json is set when the result is wanted as one JSON object.
	json bool
	// result is what that object holds besides errors; nil for nothing.
	result any
}

// Getenv looks up a variable of Environ, as os.Getenv does.
func (e *Env) Getenv(name string) string {
	for i := len(e.Environ) - 1; i >= 0; i-- {
		if k := len(name); len(e.Environ[i]) > k && e.Environ[i][k] == '=' && e.Environ[i][:k] == name {
			return e.Environ[i][k+1:]
		}
	}
	return ""
}

// path makes a path that the user gave absolute.
func (e *Env) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(e.Dir, p)
}

// print writes a line of the result.
func (e *Env) print(format string, args ...any) error {
	_, err := fmt.Fprintf(e.Stdout, format+"\n", args...)
	return err
}

// note tells the user something that is not the result.
func (e *Env) note(format string, args ...any) {
	_, _ = fmt.Fprintf(e.Stderr, "attest: "+format+"\n", args...)
}

// Main runs one command line and returns the exit code. ctx ends when the user
// wants the program to end.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	env := &Env{
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Environ: os.Environ(), Now: time.Now,
		json: wantsJSON(args),
	}
	err := run(ctx, env, args)
	if done := (*doneError)(nil); errors.As(err, &done) {
		return done.code
	}
	return env.finish(ctx, err)
}

// doneError ends a command line that asked for nothing but help or a version.
type doneError struct{ code int }

func (*doneError) Error() string { return "done" }

func run(ctx context.Context, env *Env, args []string) error {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	flags, parsed, err := parseCommand(env, args)
	if err != nil {
		return err
	}
	if env.Dir, err = os.Getwd(); err != nil {
		return fmt.Errorf("finding the working folder: %w", err)
	}
	if flags.Directory != "" {
		env.Dir, env.moved = env.path(flags.Directory), true
		if info, err := os.Stat(env.Dir); err != nil || !info.IsDir() {
			return &usageError{err: fmt.Errorf("-C %s: not a folder", flags.Directory)}
		}
	}
	env.project = env.Dir
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(env)
}

func parseCommand(env *Env, args []string) (*global, *kong.Context, error) {
	if args[0] == "run" {
		var g runGrammar
		parsed, err := parse(&g, env, args)
		return &g.global, parsed, err
	}
	var g grammar
	parsed, err := parse(&g, env, args)
	return &g.global, parsed, err
}

// parse reads the arguments into g, a pointer to a grammar. Everything that is wrong with them is a
// [usageError]; help and version end in a [doneError].
func parse(g any, env *Env, args []string) (*kong.Context, error) {
	var done *doneError
	parser, err := kong.New(g,
		kong.Name("attest"), kong.Description(description),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(code int) { done = &doneError{code} }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoExpandSubcommands: true}),
		kong.Bind(env),
	)
	if err != nil {
		return nil, fmt.Errorf("building the command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case done != nil: // kong goes on after Exit returns, and whatever it says then is moot
		return nil, done
	case err != nil:
		return nil, usage(err)
	}
	return parsed, nil
}

// wantsJSON reports whether --json is among the arguments: errors of parsing
// them are to be JSON too.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json")
}
