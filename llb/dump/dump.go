// SPDX-License-Identifier: Apache-2.0

// Package dump writes an LLB definition as text that stays the same while the
// definition means the same: for golden files and for people who look.
//
// Start with [Text]. Operations are numbered and refer to each other by number;
// their digests, of which every one changes when the first operation does, are
// left out. The text is for reading: nothing parses it.
package dump

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// Text returns the definition as text, one block for each operation, in the
// order in which they need each other. It fails on bytes that are no definition.
func Text(def *llb.Definition) (string, error) {
	d := dumper{number: map[string]int{}}
	for _, op := range order(def) {
		if err := d.operation(def, op); err != nil {
			return "", err
		}
	}
	return d.String(), nil
}

// order sorts the operations by what they need; where that leaves a choice, by
// their place in the result's walk, so that it does not hang on digests.
func order(def *llb.Definition) [][]byte {
	byDigest := map[string][]byte{}
	for _, dt := range def.Def {
		byDigest[digest.FromBytes(dt).String()] = dt
	}
	seen := map[string]bool{}
	var sorted [][]byte
	var visit func(dgst string, dt []byte)
	visit = func(dgst string, dt []byte) {
		if seen[dgst] {
			return
		}
		seen[dgst] = true
		var op pb.Op
		if op.UnmarshalVT(dt) == nil {
			for _, in := range op.Inputs {
				if need, ok := byDigest[in.Digest]; ok {
					visit(in.Digest, need)
				}
			}
		}
		sorted = append(sorted, dt)
	}
	for _, dt := range slices.Backward(def.Def) {
		visit(digest.FromBytes(dt).String(), dt)
	}
	return sorted
}

type dumper struct {
	strings.Builder
	number map[string]int // of an operation, by its digest
	inputs []*pb.Input    // of the operation being written
}

func (d *dumper) operation(def *llb.Definition, dt []byte) error {
	var op pb.Op
	if err := op.UnmarshalVT(dt); err != nil {
		return fmt.Errorf("reading operation: %w", err)
	}
	dgst := digest.FromBytes(dt)
	d.number[dgst.String()] = len(d.number) + 1
	d.inputs = op.Inputs
	if len(d.number) > 1 {
		d.WriteByte('\n')
	}
	fmt.Fprintf(d, "#%d %s\n", d.number[dgst.String()], kind(&op))
	meta := def.Metadata[dgst]
	d.text("name", meta.Description["llb.customname"])
	if meta.ProgressGroup != nil {
		d.text("group", meta.ProgressGroup.Name)
	}
	d.places(def, dgst)
	if p := op.Platform; p != nil {
		d.line("platform", p.OS+"/"+p.Architecture+suffix("/", p.Variant))
	}
	if meta.IgnoreCache {
		d.line("cache", "ignored")
	}
	switch o := op.Op.(type) {
	case *pb.Op_Source:
		d.source(o.Source)
	case *pb.Op_File:
		d.file(o.File)
	case *pb.Op_Exec:
		d.exec(o.Exec)
	case nil:
		d.line("result", d.input(0))
	default:
		for i := range op.Inputs {
			d.line("input", d.input(int64(i)))
		}
	}
	return nil
}

func kind(op *pb.Op) string {
	switch op.Op.(type) {
	case *pb.Op_Source:
		return "source"
	case *pb.Op_File:
		return "file"
	case *pb.Op_Exec:
		return "exec"
	case *pb.Op_Merge:
		return "merge"
	case *pb.Op_Diff:
		return "diff"
	case *pb.Op_Build:
		return "build"
	case nil:
		return "result"
	default:
		return "unknown"
	}
}

// input names the input i of the current operation: "#3", or "#3.1" for an
// output other than the first; "scratch" for none.
func (d *dumper) input(i int64) string {
	if i < 0 || i >= int64(len(d.inputs)) {
		return "scratch"
	}
	in := d.inputs[i]
	return fmt.Sprintf("#%d", d.number[in.Digest]) + output(in.Index)
}

func output(index int64) string {
	if index == 0 {
		return ""
	}
	return fmt.Sprintf(".%d", index)
}

func (d *dumper) line(key, value string) { fmt.Fprintf(d, "  %-9s %s\n", key, value) }

// text writes a value of the user's, of which any byte may be part.
func (d *dumper) text(key, value string) {
	if value != "" {
		d.line(key, quoted(value))
	}
}

func (d *dumper) places(def *llb.Definition, dgst digest.Digest) {
	if def.Source == nil || def.Source.Locations[dgst.String()] == nil {
		return
	}
	for _, l := range def.Source.Locations[dgst.String()].Locations {
		if int(l.SourceIndex) >= len(def.Source.Infos) {
			continue
		}
		for _, r := range l.Ranges {
			d.line("place", fmt.Sprintf("%s:%d:%d", def.Source.Infos[l.SourceIndex].Filename, r.Start.Line, r.Start.Character))
		}
	}
}

func (d *dumper) source(s *pb.SourceOp) {
	d.line("id", quoted(s.Identifier))
	for _, name := range slices.Sorted(maps.Keys(s.Attrs)) {
		d.line("attr", quoted(name+"="+s.Attrs[name]))
	}
}

func suffix(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}

// quoted leaves harmless text as it is and quotes everything else, so that one
// value is one line and shows what it is made of.
func quoted(s string) string {
	q := fmt.Sprintf("%q", s)
	if len(q) == len(s)+2 && s != "" && s == strings.TrimSpace(s) && q[1:len(q)-1] == s {
		return s
	}
	return q
}

// word is quoted for a place among other words.
func word(s string) string {
	if strings.ContainsAny(s, " ,") {
		return fmt.Sprintf("%q", s)
	}
	return quoted(s)
}
