// SPDX-License-Identifier: Apache-2.0

// Package config decides what a setting is: a flag's value before the
// environment's, that before the project's .attest/config.yaml, that before
// the default.
//
// Start with [Load]; [Keys] is the table of what can be set. A [Set] does not
// change after it was loaded, but for [Set.Flag].
package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/attest-pipeline/attest/frontend/source"
)

// File is where a project keeps its settings, relative to its folder.
const File = ".attest/config.yaml"

// ErrKey is matched by errors about a key that does not exist.
var ErrKey = errors.New("unknown setting")

// ErrFile is matched by errors about what stands in the file, and ErrEnv by
// those about the environment.
var (
	ErrFile = errors.New("invalid settings file")
	ErrEnv  = errors.New("invalid setting in the environment")
)

// Source says where a value came from.
type Source string

// The sources, the strongest first.
const (
	FromFlag    Source = "flag"
	FromEnv     Source = "environment"
	FromFile    Source = "file"
	FromDefault Source = "default"
)

// Value is what a setting is and why.
type Value struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source Source `json:"source"`
}

// Set holds a value for every key.
type Set struct{ values map[string]Value }

// Load reads the settings of the project in dir. Errors about the file are
// [source.Error]s that match [ErrFile]; those about the environment match
// [ErrEnv] and name the variable.
func Load(dir string, getenv func(string) string) (*Set, error) {
	file, err := read(filepath.Join(dir, filepath.FromSlash(File)), File)
	if err != nil {
		return nil, err
	}
	s := &Set{values: map[string]Value{}}
	var errs []error
	for _, k := range Keys() {
		v := Value{k.Name, k.Default, FromDefault}
		if text, ok := file.get(k.Name); ok {
			v = Value{k.Name, text, FromFile}
		}
		if text := getenv(k.Env); text != "" {
			v = Value{k.Name, text, FromEnv}
			if err := k.check(text); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s: %w", ErrEnv, k.Env, err))
			}
		}
		s.values[k.Name] = v
	}
	return s, errors.Join(errs...)
}

// Flag overrides a setting with the value of a flag; nil is a flag that was
// not given.
func (s *Set) Flag(key string, value *string) error {
	if value == nil {
		return nil
	}
	k, err := Lookup(key)
	if err != nil {
		return err
	}
	if err := k.check(*value); err != nil {
		return fmt.Errorf("--%s: %w", strings.ReplaceAll(key, "_", "-"), err)
	}
	s.values[key] = Value{key, *value, FromFlag}
	return nil
}

// Get returns a setting. It panics on a name that is no key: only a programmer
// can write it.
func (s *Set) Get(key string) Value {
	v, ok := s.values[key]
	if !ok {
		panic("config: no key " + key)
	}
	return v
}

// Bool returns a setting that is true or false.
func (s *Set) Bool(key string) bool { return s.Get(key).Value == "true" }

// Jobs returns the setting of that name, 0 for auto.
func (s *Set) Jobs() int {
	n, _ := strconv.Atoi(s.Get(Jobs).Value) // checked when it was loaded; auto is 0
	return n
}

// All returns every setting, ordered by key.
func (s *Set) All() []Value {
	var all []Value
	for _, k := range Keys() {
		all = append(all, s.values[k.Name])
	}
	return all
}

// Lookup returns the key of that name. Errors match [ErrKey] and say what was
// probably meant.
func Lookup(name string) (Key, error) {
	keys := Keys()
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i >= 0 {
		return keys[i], nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	if near, ok := source.Closest(name, names); ok {
		return Key{}, fmt.Errorf("%w %q, did you mean %q?", ErrKey, name, near)
	}
	return Key{}, fmt.Errorf("%w %q; there are %s", ErrKey, name, strings.Join(names, ", "))
}
