// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

func loadSchema(t *testing.T) checker {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(pipeline.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	return checker{root}
}

// TestSchemaKeys holds the schema's keys against the parser's.
func TestSchemaKeys(t *testing.T) {
	c := loadSchema(t)
	for pointer, want := range pipeline.Keys() {
		node := c.find(pointer)
		properties, _ := node["properties"].(map[string]any)
		var got []string
		for name, property := range properties {
			got = append(got, name)
			if d, _ := property.(map[string]any)["description"].(string); d == "" {
				t.Errorf("%s/properties/%s has no description", pointer, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: parser and schema differ:\n%s", pointer, diff)
		}
		if node["additionalProperties"] != false {
			t.Errorf("%s takes unknown keys", pointer)
		}
	}
}

// TestSchemaAccepts checks that the schema refuses nothing that the parser
// accepts.
func TestSchemaAccepts(t *testing.T) {
	c := loadSchema(t)
	files, _ := filepath.Glob("testdata/*.txtar")
	accepted := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data := archive.Files[0].Data
		if _, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: data}); err != nil {
			continue
		}
		accepted++
		var doc any
		if err := yaml.Load(data, &doc); err != nil {
			t.Fatal(file, err)
		}
		if err := c.check(c.root, doc); err != nil {
			t.Errorf("%s: the schema refuses it: %v", file, err)
		}
	}
	if accepted < 5 {
		t.Errorf("only %d vectors were accepted", accepted)
	}
}

// TestSchemaRefuses checks that the schema is not a sieve without a bottom.
func TestSchemaRefuses(t *testing.T) {
	c := loadSchema(t)
	for _, text := range []string{
		`{}`,
		`{version: "0.2", name: x, steps: {a: {run: x}}}`,
		`{version: "0.1", name: "a b", steps: {a: {run: x}}}`,
		`{version: "0.1", name: x, steps: {}}`,
		`{version: "0.1", name: x, steps: {a: {}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, name: a}}}`,
		`{version: "0.1", name: x, steps: [{run: x}]}`,
		`{version: "0.1", name: x, steps: {a: {run: " "}}}`,
		`{version: "0.1", name: x, steps: {a: {run: []}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, runs: y}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, inputs: [/x]}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, outputs: [a/../b]}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, outputs: ["!b"]}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, timeout_secs: 0}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, isolation: jail}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, env: {A: null}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, env: {A-B: 1}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, needs: [b, b]}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, image: y, network: {mode: recorded, allow: []}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, image: y, network: {mode: recorded, allow: ["a:1"]}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, limits: {cpus: 0}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, secrets: {A: {mount: /x}}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, secrets: {A: {env: A, file: b}}}}}`,
		`{version: "0.1", name: x, steps: {a: {run: x, image: y, caches: {a: b}}}}`,
		`{version: "0.1", name: x, cache: {max_size: big}, steps: {a: {run: x}}}`,
	} {
		var doc any
		if err := yaml.Load([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if c.check(c.root, doc) == nil {
			t.Errorf("the schema accepts %s", text)
		}
		if _, err := pipeline.Parse(&source.File{Data: []byte(text)}); err == nil {
			t.Errorf("the parser accepts %s", text)
		}
	}
}

// checker is as much of JSON Schema as this one uses; a keyword that it does
// not know is an error.
type checker struct{ root map[string]any }

func (c checker) find(pointer string) map[string]any {
	node := c.root
	for _, part := range strings.Split(pointer, "/")[1:] {
		node, _ = node[part].(map[string]any)
	}
	return node
}

func (c checker) check(schema any, v any) error {
	if schema == false {
		return fmt.Errorf("nothing may stand here")
	}
	for keyword, arg := range schema.(map[string]any) {
		if err := c.keyword(schema.(map[string]any), keyword, arg, v); err != nil {
			return fmt.Errorf("%s: %w", keyword, err)
		}
	}
	return nil
}

func (c checker) keyword(schema map[string]any, keyword string, arg, v any) error {
	object, isObject := v.(map[string]any)
	array, isArray := v.([]any)
	text, isText := v.(string)
	ok := true
	switch keyword {
	case "$schema", "$id", "$defs", "title", "description", "default", "examples":
	case "$ref":
		return c.check(c.find(strings.TrimPrefix(arg.(string), "#")), v)
	case "type":
		types, many := arg.([]any)
		if !many {
			types = []any{arg}
		}
		ok = slices.ContainsFunc(types, func(name any) bool { return hasType(v, name.(string)) })
	case "const":
		ok = reflect.DeepEqual(arg, v)
	case "enum":
		ok = slices.ContainsFunc(arg.([]any), func(w any) bool { return reflect.DeepEqual(w, v) })
	case "pattern":
		ok = !isText || regexp.MustCompile(arg.(string)).MatchString(text)
	case "minLength":
		ok = !isText || utf8.RuneCountInString(text) >= int(arg.(float64))
	case "maxLength":
		ok = !isText || utf8.RuneCountInString(text) <= int(arg.(float64))
	case "minimum":
		ok = !hasType(v, "number") || number(v) >= arg.(float64)
	case "maximum":
		ok = !hasType(v, "number") || number(v) <= arg.(float64)
	case "minItems":
		ok = !isArray || len(array) >= int(arg.(float64))
	case "minProperties":
		ok = !isObject || len(object) >= int(arg.(float64))
	case "uniqueItems":
		for i := range array {
			ok = ok && !slices.ContainsFunc(array[:i], func(w any) bool { return reflect.DeepEqual(w, array[i]) })
		}
	case "required":
		for _, name := range arg.([]any) {
			_, there := object[name.(string)]
			ok = ok && there
		}
	case "not":
		ok = c.check(arg, v) != nil
	case "oneOf":
		n := 0
		for _, s := range arg.([]any) {
			if c.check(s, v) == nil {
				n++
			}
		}
		ok = n == 1
	case "items":
		for i, item := range array {
			if err := c.check(arg, item); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
	case "properties":
		for name, s := range arg.(map[string]any) {
			if value, there := object[name]; there {
				if err := c.check(s, value); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	case "propertyNames":
		for name := range object {
			if err := c.check(arg, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case "additionalProperties":
		known, _ := schema["properties"].(map[string]any)
		if schema["$ref"] != nil {
			return fmt.Errorf("additionalProperties does not see through $ref")
		}
		for name, value := range object {
			if _, there := known[name]; !there {
				if err := c.check(arg, value); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	default:
		return fmt.Errorf("the test knows no such keyword")
	}
	if !ok {
		return fmt.Errorf("%v is refused", v)
	}
	return nil
}

func hasType(v any, name string) bool {
	switch v := v.(type) {
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case int:
		return name == "number" || name == "integer"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case nil:
		return name == "null"
	default: // a date: JSON has none, an editor hands it over as a string
		return name == "string"
	}
}

func number(v any) float64 {
	if n, ok := v.(int); ok {
		return float64(n)
	}
	return v.(float64)
}
