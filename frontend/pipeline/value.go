// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// text returns a value that must be a string.
func (p *parser) text(f field) (string, bool) {
	n := f.value
	if n.Kind == yaml.ScalarNode && !isNull(n) && n.ShortTag() != "!!str" && n.Style&yaml.TaggedStyle == 0 {
		p.report(p.at(n), f.name+" must be a string", fmt.Sprintf("put it in quotes: %q", n.Value))
		return "", false
	}
	return p.word(f)
}

// word returns a scalar of any type as it was written: 1 is "1", true "true",
// 1.10 "1.10".
func (p *parser) word(f field) (string, bool) {
	n := f.value
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n):
		p.wrongType(f, f.name+" must be a string")
		return "", false
	case !p.untagged(n):
		return "", false
	case strings.IndexByte(n.Value, 0) >= 0:
		p.report(p.at(n), f.name+" holds a NUL character")
		return "", false
	}
	return n.Value, true
}

// filled is text that is more than white space.
func (p *parser) filled(f field) (string, bool) {
	s, ok := p.text(f)
	if ok && strings.TrimSpace(s) == "" {
		p.report(p.at(f.value), f.name+" is empty")
		return "", false
	}
	return s, ok
}

func (p *parser) boolean(f field) (value, ok bool) {
	n := f.value
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Style&yaml.TaggedStyle != 0 {
		p.wrongType(f, f.name+" must be true or false")
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

// number returns a decimal number within bounds.
func (p *parser) number(f field, low, high float64, what string) (float64, bool) {
	n := f.value
	wrong := fmt.Sprintf("%s must be %s from %s to %s", f.name, what, plain(low), plain(high))
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" || n.Style&yaml.TaggedStyle != 0 {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
			p.report(p.at(n), wrong, "write it without quotes and units")
			return 0, false
		}
		p.wrongType(f, wrong)
		return 0, false
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsNaN(v) || v < low || v > high {
		hints := []string{}
		if v == 0 && err == nil {
			hints = append(hints, "leave the key out for no limit")
		}
		p.report(p.at(n), wrong, hints...)
		return 0, false
	}
	return v, true
}

// count is number for values without a fraction.
func (p *parser) count(f field, low, high float64) (int, bool) {
	const what = "a whole number"
	v, ok := p.number(f, low, high, what)
	if ok && v != math.Trunc(v) {
		p.report(p.at(f.value), fmt.Sprintf("%s must be %s from %s to %s", f.name, what, plain(low), plain(high)))
		return 0, false
	}
	return int(v), ok
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// choice returns one of a few words.
func (p *parser) choice(f field, words []string) (string, bool) {
	s, ok := p.text(f)
	if !ok {
		return "", false
	}
	if !slices.Contains(words, s) {
		p.unknown(p.at(f.value), fmt.Sprintf("%s cannot be %s", f.name, show(s)), s, words, "it is one of: "+strings.Join(words, ", "))
		return "", false
	}
	return s, true
}

// name returns a name that can stand in file names and reports.
func (p *parser) name(f field, what string) (string, bool) {
	s, ok := p.filled(f)
	return s, ok && p.checkName(f, s, what)
}

const maxName = 64

func (p *parser) checkName(f field, s, what string) bool {
	pos := f.pos
	if f.value != nil {
		pos = p.at(f.value)
	}
	switch {
	case s == "":
		p.report(pos, what+" is empty")
	case len(s) > maxName:
		p.report(pos, fmt.Sprintf("%s is longer than %d characters", what, maxName))
	case !isAlnum(rune(s[0])) || strings.ContainsFunc(s, notInName):
		hints := []string{"a name begins with a letter or digit and holds letters, digits, . _ and -"}
		if better := repaired(s); better != "" {
			hints = append(hints, "for instance: "+better)
		}
		p.report(pos, what+" "+show(s)+" holds characters that a name cannot have", hints...)
	default:
		return true
	}
	return false
}

func notInName(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("._-", r) }

// repaired returns a valid name made of s, empty where nothing is left of it.
func repaired(s string) string {
	s = strings.Map(func(r rune) rune {
		if notInName(r) {
			return '-'
		}
		return r
	}, s)
	return strings.Trim(s, "-._")
}

func (p *parser) size(f field) (int64, bool) {
	const most = 1 << 60
	s, ok := p.word(f)
	if !ok {
		return 0, false
	}
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		i = len(s)
	}
	v, err := strconv.ParseFloat(s[:i], 64)
	factor, known := units[strings.ToUpper(strings.TrimSpace(s[i:]))]
	if err != nil || !known || v*factor < 1 || v*factor > most {
		p.report(p.at(f.value), fmt.Sprintf("%s cannot be %s", f.name, show(s)),
			`write a number and a unit, like "500MB" or "10GiB"`, "leave the key out for no limit")
		return 0, false
	}
	return int64(v * factor), true
}

// units are the factors of sizes: decimal, and binary with an i.
var units = map[string]float64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}

func (p *parser) seconds(f field) (time.Duration, bool) {
	const year = 365 * 24 * 3600
	v, ok := p.number(f, 0.001, year, "a number of seconds")
	return time.Duration(math.Round(v * float64(time.Second))), ok
}

func (p *parser) days(f field) (time.Duration, bool) {
	v, ok := p.number(f, 1, 36500, "a number of days")
	return time.Duration(v * float64(24*time.Hour)), ok
}
