// SPDX-License-Identifier: Apache-2.0

package stepinit_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

func TestOrder(t *testing.T) {
	for _, want := range []stepinit.Order{
		{},
		{Argv: []string{"sh", "", "-c\n\xff"}, Env: []string{"A=", "B=\xfe"}, Dir: "/a b", Hide: []string{"/x"}, Spaces: 1 << 40},
		{View: stepinit.View{Dir: "/d", Project: "/p", Home: "/h", HomeEmpty: true, Writable: []string{"/c", ""}}},
		{Watch: []string{"/p", "/"}, Lookups: stepinit.LookupsAll},
		{Lookups: stepinit.LookupsOpens},
		{Files: []stepinit.File{{Path: "/run/a", Content: []byte("a\x00\xff")}, {Path: "/b", Content: []byte{}, Public: true}}},
		{World: stepinit.World{Hostname: "h", Umask: 0o777, LastPID: 7}, View: stepinit.View{Dir: "/d", Order: "/o", Alias: "/a"}, AliasDir: "/a/d", Writable: []string{"/w"}},
		{Limits: stepinit.Limits{
			Memory: 1, PIDs: 2, FileSize: 1 << 60, CPUs: []int{0, 5},
			Groups: []stepinit.GroupKind{stepinit.GroupTasks, stepinit.GroupFolder},
		}},
	} {
		got, err := stepinit.ReadOrder(bytes.NewReader(want.Marshal()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(stepinit.Order{})); diff != "" {
			t.Error(diff)
		}
	}
}

func TestReport(t *testing.T) {
	for _, want := range []stepinit.Report{{}, {Refused: "refused", NotRun: "not run", Code: 137, Duration: time.Hour, Controls: []string{"a", "b"}}} {
		got, ok := stepinit.ParseReport(want.Marshal())
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%t, %s", ok, diff)
		}
	}
	if _, ok := stepinit.ParseReport(nil); ok {
		t.Error("nothing is a report")
	}
}

func TestIs(t *testing.T) {
	for _, args := range [][]string{nil, {"attest"}, {"attest", stepinit.InitName}} {
		if stepinit.Is(args) {
			t.Errorf("%q is taken for an init", args)
		}
	}
}

// What was not written by the other end must not be taken for half an order.
func FuzzReadOrder(f *testing.F) {
	order := stepinit.Order{Argv: []string{"sh", "-c", "true"}, Env: []string{"A=B"}, Dir: "/", Hide: []string{"/x"}, Spaces: 7}
	f.Add(order.Marshal())
	f.Add(order.Marshal()[:9])
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := stepinit.ReadOrder(bytes.NewReader(data)); err != nil && !cmp.Equal(o, stepinit.Order{}, cmpopts.IgnoreUnexported(stepinit.Order{})) {
			t.Errorf("an error and %v", o)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add(stepinit.Report{Refused: "x", NotRun: "y", Code: 1, Duration: 2}.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, ok := stepinit.ParseReport(data); !ok && !cmp.Equal(r, stepinit.Report{}, cmpopts.IgnoreUnexported(stepinit.Order{})) {
			t.Errorf("no report and %v", r)
		}
	})
}
