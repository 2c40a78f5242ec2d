// SPDX-License-Identifier: Apache-2.0

// Package canon is the one byte form of JSON that is hashed and signed: that of
// RFC 8785 (JCS), restricted to what every reader understands the same way.
//
// Start with [Marshal] and [Unmarshal]. One value has one spelling: Unmarshal
// refuses every other one, so that no two readers of signed bytes can differ
// about what they say.
package canon

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

// ErrInvalid is matched by errors about values and bytes that have no canonical
// form: text that is not UTF-8, numbers that a double cannot hold, no JSON.
var ErrInvalid = errors.New("no canonical JSON")

// ErrNotCanonical is matched by errors about JSON in another spelling than the
// canonical one, repeated, unknown and re-cased keys included.
var ErrNotCanonical = errors.New("JSON is not in canonical form")

// maxInteger is the largest integer that all readers hold exactly (RFC 8785,
// appendix D; RFC 7493, section 2.2).
const maxInteger = 1<<53 - 1

// Marshal returns the canonical form of v, encoded as encoding/json does. Errors
// match [ErrInvalid]. Text that a [json.Marshaler] or encoding.TextMarshaler
// within v returns is that method's responsibility.
func Marshal(v any) ([]byte, error) {
	if err := check(reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return transform(text)
}

func transform(text []byte) ([]byte, error) {
	out, err := jcs.Transform(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return out, nil
}

// Unmarshal decodes canonical JSON into v, a pointer. What it accepts, [Marshal]
// of v returns byte for byte. Otherwise the error matches [ErrInvalid] or
// [ErrNotCanonical], and what v then holds means nothing.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	// encoding/json matches keys without regard to case, lets the last of a
	// repeated key win, mends invalid text, rounds numbers, and was not asked what
	// follows the value. What it changed in reading comes out different in writing.
	again, err := Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return ErrNotCanonical
	}
	return nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// check refuses what encoding/json would change without a word.
func check(v reflect.Value) error {
	if v.IsValid() && (v.Type().Implements(jsonMarshaler) || v.Type().Implements(textMarshaler)) {
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return fmt.Errorf("%w: %q is not valid UTF-8", ErrInvalid, v.String())
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n := v.Int(); n > maxInteger || n < -maxInteger {
			return fmt.Errorf("%w: %d is beyond 53 bits", ErrInvalid, n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if n := v.Uint(); n > maxInteger {
			return fmt.Errorf("%w: %d is beyond 53 bits", ErrInvalid, n)
		}
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); f == math.Trunc(f) && math.Abs(f) > maxInteger {
			return fmt.Errorf("%w: %g is beyond 53 bits", ErrInvalid, f)
		}
	case reflect.Pointer, reflect.Interface:
		return check(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); !f.IsExported() && !f.Anonymous {
				continue
			}
			if err := check(v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil // base64 in JSON
		}
		for i := range v.Len() {
			if err := check(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := errors.Join(check(it.Key()), check(it.Value())); err != nil {
				return err
			}
		}
	}
	return nil
}
