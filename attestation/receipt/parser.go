// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// parser reads the YAML subset of FORMAT.md: what the encoder writes, with keys
// in their order. After its first error it reads nothing.
type parser struct {
	rest string
	line int // lines read
	err  error
	layouts
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// unexpected describes what stands where something else was wanted.
func (p *parser) unexpected() string {
	line, _, _ := strings.Cut(p.rest, "\n")
	if key, _, ok := strings.Cut(strings.TrimLeft(line, " -"), ":"); ok && len(key) < 40 {
		return fmt.Sprintf("key %q is unknown, repeated or out of place", key)
	}
	return fmt.Sprintf("%q is out of place", clip(line))
}

func clip(s string) string {
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return s
}

// take consumes prefix and reports whether it was there.
func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok && p.err == nil {
		p.rest = rest
	}
	return ok && p.err == nil
}

func (p *parser) want(what string) {
	if !p.take(what) {
		p.fail("want %q before %q", what, clip(p.rest))
		return
	}
	p.line += strings.Count(what, "\n")
}

// block reads a map with one key a line; see encoder.block.
func (p *parser) block(v reflect.Value, first, indent string) {
	for i, f := range p.of(v.Type()) {
		if !p.take(first + f.key + ":") {
			if !f.optional {
				p.fail("want key %q; %s", f.key, p.unexpected())
			}
			continue
		}
		first = indent
		switch f.style {
		case "block", "rows":
			p.want("\n")
			p.list(v.Field(i), f.style, indent)
		case "map":
			p.want("\n")
			v.Field(i).Set(reflect.New(v.Field(i).Type().Elem()))
			p.block(v.Field(i).Elem(), indent+"  ", indent+"  ")
		default:
			p.want(" ")
			p.inline(v.Field(i))
			p.want("\n")
		}
	}
}

func (p *parser) list(v reflect.Value, style, indent string) {
	item := indent + "  - "
	for p.err == nil && strings.HasPrefix(p.rest, item) {
		v.Grow(1)
		v.SetLen(v.Len() + 1)
		last := v.Index(v.Len() - 1)
		if style == "block" {
			p.block(last, item, indent+"    ")
			continue
		}
		p.want(item)
		p.inline(last)
		p.want("\n")
	}
}

// inline reads a value on the rest of a line.
func (p *parser) inline(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(p.text())
	case reflect.Int64:
		s, err := parseSeconds(p.bare())
		if err != nil {
			p.fail("%w", err)
		}
		v.SetInt(int64(s))
	case reflect.Int:
		n, err := strconv.ParseInt(p.bare(), 10, 32)
		if err != nil {
			p.fail("not a whole number")
		}
		v.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(p.bare(), 10, 63)
		if err != nil {
			p.fail("not a whole number")
		}
		v.SetUint(n)
	case reflect.Bool:
		b, err := strconv.ParseBool(p.bare())
		if err != nil {
			p.fail("want true or false")
		}
		v.SetBool(b)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		p.inline(v.Elem())
	case reflect.Slice:
		var list []string
		p.flow("[", "]", func() { list = append(list, p.text()) })
		v.Set(reflect.ValueOf(list))
	case reflect.Map:
		m := map[string]string{}
		p.flow("{", "}", func() {
			key := p.text()
			p.want(": ")
			m[key] = p.text()
		})
		v.Set(reflect.ValueOf(m))
	case reflect.Struct:
		p.flowStruct(v)
	}
}

func (p *parser) flowStruct(v reflect.Value) {
	open := "{"
	for i, f := range p.of(v.Type()) {
		if p.take(open + f.key + ": ") {
			open = ", "
			p.inline(v.Field(i))
		} else if !f.optional {
			p.fail("want key %q before %q", f.key, clip(p.rest))
		}
	}
	p.want("}")
}

func (p *parser) flow(open, end string, item func()) {
	p.want(open)
	for p.err == nil {
		item()
		if !p.take(", ") {
			break
		}
	}
	p.want(end)
}

// text reads a word or a quoted string.
func (p *parser) text() string {
	if !strings.HasPrefix(p.rest, `"`) {
		word := p.bare()
		if !isWord(word) {
			p.fail("%q is no word and has no quotes", clip(word))
		}
		return word
	}
	end := 1
	for end < len(p.rest) && p.rest[end] != '"' && p.rest[end] != '\n' {
		if p.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.rest) || p.rest[end] != '"' {
		p.fail("a string without an end")
		return ""
	}
	quoted := p.rest[1:end]
	p.rest = p.rest[end+1:]
	if !strings.Contains(quoted, `\`) {
		return quoted
	}
	return p.unescape(quoted)
}

func (p *parser) unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++ // text saw to it that a backslash is not the last byte
		switch s[i] {
		case '"', '\\':
			b.WriteByte(s[i])
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			digits := s[i+1 : min(i+5, len(s))]
			code, err := strconv.ParseUint(digits, 16, 16)
			if err != nil || len(digits) != 4 {
				p.fail("a damaged escape in %q", clip(s))
				return ""
			}
			b.WriteRune(rune(code))
			i += 4
		default:
			p.fail("an unknown escape in %q", clip(s))
			return ""
		}
	}
	return b.String()
}

// bare consumes and returns what stands before the next delimiter.
func (p *parser) bare() string {
	end := strings.IndexAny(p.rest, ",]}: \n")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}
