// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"log/slog"
)

// Secret is something that a step is handed.
type Secret struct {
	Name  string // of the variable that holds it, where Mount is empty
	Mount string // the path of the file in the step that holds it: absolute, or for a process after ~/ in its home
	Value SecretValue
}

// SecretValue holds a value that does not print itself, in whatever struct it
// lies: it is reached through a pointer, which is all that fmt shows of it.
// Only package gob, by which jobs travel to a worker, gets it. The zero value
// holds nothing.
type SecretValue struct{ v *[]byte }

// NewSecretValue hides a value.
func NewSecretValue(value []byte) SecretValue { return SecretValue{&value} }

// Reveal returns the value. It is not to be changed.
func (s SecretValue) Reveal() []byte {
	if s.v == nil {
		return nil
	}
	return *s.v
}

const hidden = "[secret]"

// String returns a word that stands for the value.
func (SecretValue) String() string { return hidden }

// GoString returns a word that stands for the value.
func (SecretValue) GoString() string { return hidden }

// LogValue returns a word that stands for the value.
func (SecretValue) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns a word that stands for the value.
func (SecretValue) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// GobEncode returns the value itself.
func (s SecretValue) GobEncode() ([]byte, error) { return s.Reveal(), nil }

// GobDecode takes the value.
func (s *SecretValue) GobDecode(value []byte) error {
	*s = NewSecretValue(append([]byte{}, value...))
	return nil
}
