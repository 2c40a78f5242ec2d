// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/frontend/source"
)

// maxFile bounds what is read: the file is a few lines.
const maxFile = 64 << 10

// file is a config.yaml: a flat map, comments kept.
type file struct{ root *yaml.Node }

// read reads path, called name in errors; a file that is not there is empty.
func read(path, name string) (*file, error) {
	data, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	src := &source.File{Name: name, Data: data}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, name, err)
	}
	if doc.Kind == 0 { // nothing but comments
		return empty(), nil
	}
	f := &file{root: doc.Content[0]}
	if f.root.Kind != yaml.MappingNode {
		return nil, place(src, f.root, "settings are lines of the form name: value")
	}
	return f, f.check(src)
}

func readLimited(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return data, err
}

func empty() *file { return &file{root: &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

// check reports every key and value that is not known, with its place.
func (f *file) check(src *source.File) error {
	var errs []*source.Error
	seen := map[string]bool{}
	for i := 0; i+1 < len(f.root.Content); i += 2 {
		name, value := f.root.Content[i], f.root.Content[i+1]
		key, err := Lookup(name.Value)
		switch {
		case err != nil:
			errs = append(errs, place(src, name, err.Error()))
		case seen[key.Name]:
			errs = append(errs, place(src, name, fmt.Sprintf("%s is set twice", key.Name)))
		case value.Kind != yaml.ScalarNode:
			errs = append(errs, place(src, value, fmt.Sprintf("%s: not a single value", key.Name)))
		default:
			if err := key.Check(value.Value); err != nil {
				errs = append(errs, place(src, value, err.Error()))
			}
		}
		seen[name.Value] = true
	}
	return source.Join(errs)
}

func place(src *source.File, n *yaml.Node, msg string) *source.Error {
	return &source.Error{
		Pos:     source.Pos{File: src.Name, Line: n.Line, Column: n.Column},
		Snippet: src.Line(n.Line), Msg: msg, Err: ErrFile,
	}
}

func (f *file) get(name string) (string, bool) {
	for i := 0; i+1 < len(f.root.Content); i += 2 {
		if f.root.Content[i].Value == name {
			return f.root.Content[i+1].Value, true
		}
	}
	return "", false
}

func (f *file) set(name, value string) {
	for i := 0; i+1 < len(f.root.Content); i += 2 {
		if n := f.root.Content[i]; n.Value == name {
			f.root.Content[i+1].SetString(value)
			f.root.Content[i+1].Tag, f.root.Content[i+1].Style = "", 0
			return
		}
	}
	f.root.Content = append(f.root.Content,
		&yaml.Node{Kind: yaml.ScalarNode, Value: name}, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
}

// Store writes one setting into the project's file, keeping what else is
// there. The value must be one that the key accepts; errors about the name
// match [ErrKey].
func Store(dir, name, value string) error {
	key, err := Lookup(name)
	if err != nil {
		return err
	}
	if err := key.Check(value); err != nil {
		return err
	}
	path := filepath.Join(dir, filepath.FromSlash(File))
	f, err := read(path, File)
	if err != nil {
		return err
	}
	f.set(name, value)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(f.root); err != nil {
		return fmt.Errorf("writing %s: %w", File, err)
	}
	return write(path, out.Bytes())
}

// write replaces path in one step, so that no reader sees half of it.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", File, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", File, err)
	}
	defer os.Remove(tmp.Name()) // fails when the rename succeeded
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", File, err)
	}
	return nil
}
