// SPDX-License-Identifier: Apache-2.0

package canon_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/canon"
)

func TestMarshal(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"keys sorted", map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`},
		{"keys sorted by UTF-16 units (RFC 8785, 3.2.3)", map[string]int{"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3}, "{\"\u20ac\":3,\"\U0001f600\":2,\"\ufb33\":1}"},
		{"no HTML escapes", "<&>\u2028", "\"<&>\u2028\""},
		{"short escapes", "\b\t\n\f\r\"\\\x01\x7f", `"\b\t\n\f\r\"\\\u0001` + "\x7f\""},
		{"numbers", []float64{0, 1, 0.5, 1e-7, 333333333.33333329, 1e15}, `[0,1,0.5,1e-7,333333333.3333333,1000000000000000]`},
		{"minus zero", math.Copysign(0, -1), `0`},
		{"largest integer", int64(1<<53 - 1), `9007199254740991`},
		{"raw JSON", json.RawMessage(`{ "b" : 1.0, "a" : "\u00e9" }`), "{\"a\":\"é\",\"b\":1}"},
		{"nil", nil, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canon.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestMarshalRefuses(t *testing.T) {
	type inner struct{ S *string }
	bad := "\xff"
	tests := []struct {
		name string
		in   any
	}{
		{"invalid UTF-8", "\xc3\x28"},
		{"invalid UTF-8 in a key", map[string]int{"\xff": 1}},
		{"invalid UTF-8 behind pointers", []inner{{&bad}}},
		{"invalid UTF-8 in an interface", []any{"ok", bad}},
		{"an integer that a double rounds", int64(1<<53 + 1)},
		{"an unsigned integer that a double rounds", uint64(1 << 60)},
		{"a whole float beyond 53 bits", 1e300},
		{"not a number", math.NaN()},
		{"infinity", math.Inf(1)},
		{"a channel", make(chan int)},
		{"raw JSON with a repeated key", json.RawMessage(`{"a":1,"a":2}`)},
		{"raw JSON with a lone surrogate", json.RawMessage(`"\ud800"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := canon.Marshal(tt.in); !errors.Is(err, canon.ErrInvalid) {
				t.Errorf("got %s, %v; want ErrInvalid", got, err)
			}
		})
	}
}

type document struct {
	Step string   `json:"step"`
	Code int64    `json:"code"`
	List []string `json:"list,omitempty"`
}

func TestUnmarshal(t *testing.T) {
	var d document
	if err := canon.Unmarshal([]byte(`{"code":9007199254740991,"step":"good"}`), &d); err != nil {
		t.Fatal(err)
	}
	if d.Step != "good" || d.Code != 1<<53-1 {
		t.Errorf("got %+v", d)
	}
}

func TestUnmarshalRefusesEveryOtherSpelling(t *testing.T) {
	tests := []struct{ name, in string }{
		{"empty", ``},
		{"white space alone", ` `},
		{"re-cased key", `{"code":1,"STEP":"evil"}`},
		{"re-cased key beside the right one", `{"STEP":"evil","code":1,"step":"good"}`},
		{"repeated key", `{"code":1,"step":"good","step":"evil"}`},
		{"unknown key", `{"code":1,"other":1,"step":"good"}`},
		{"missing key", `{"code":1}`},
		{"re-ordered", `{"step":"good","code":1}`},
		{"re-spaced", `{"code":1, "step":"good"}`},
		{"newline at the end", `{"code":1,"step":"good"}` + "\n"},
		{"bytes at the end", `{"code":1,"step":"good"}x`},
		{"a second value", `{"code":1,"step":"good"}{}`},
		{"unterminated", `{"code":1,"step":"good"`},
		{"escaped without need", `{"code":1,"step":"g\u006fod"}`},
		{"upper-case escape", `{"code":1,"step":"\u001F"}`},
		{"escaped slash", `{"code":1,"step":"a\/b"}`},
		{"lone surrogate", `{"code":1,"step":"\ud800"}`},
		{"reversed surrogates", `{"code":1,"step":"\udc00\ud800"}`},
		{"invalid UTF-8", "{\"code\":1,\"step\":\"\xff\"}"},
		{"byte order mark", "\ufeff" + `{"code":1,"step":"good"}`},
		{"1.0", `{"code":1.0,"step":"good"}`},
		{"1e0", `{"code":1e0,"step":"good"}`},
		{"-0", `{"code":-0,"step":"good"}`},
		{"leading zero", `{"code":01,"step":"good"}`},
		{"beyond 53 bits, rounded", `{"code":9007199254740993,"step":"good"}`},
		{"beyond 53 bits, exact", `{"code":9007199254740992,"step":"good"}`},
		{"beyond a double", `{"code":1e400,"step":"good"}`},
		{"null", `null`},
		{"an array", `[]`},
		{"empty list that would be left out", `{"code":1,"list":[],"step":"good"}`},
		{"null list", `{"code":1,"list":null,"step":"good"}`},
		{"deep", strings.Repeat("[", 1e5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d document
			err := canon.Unmarshal([]byte(tt.in), &d)
			if !errors.Is(err, canon.ErrNotCanonical) && !errors.Is(err, canon.ErrInvalid) {
				t.Errorf("accepted as %+v (%v)", d, err)
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"code":1,"step":"good"}`))
	f.Add([]byte(`{"STEP":"evil","code":1,"step":"good"}`))
	f.Add([]byte(`{"a":[1,0.5,"\u0001",null,true,{"b":"é"}]}`))
	f.Add([]byte(`1e21`))
	f.Add([]byte(`"\ud83d\ude00"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(document), new(any)} {
			if canon.Unmarshal(data, v) != nil {
				continue
			}
			again, err := canon.Marshal(v)
			if err != nil || string(again) != string(data) {
				t.Fatalf("%T: decodes, but re-encodes to %q, %v", v, again, err)
			}
		}
	})
}
