// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/event"
)

// TestLargeOutputsTellHowFar: a file with holes is read for as long as it says it is,
// and whoever waits sees how far that is.
func TestLargeOutputsTellHowFar(t *testing.T) {
	const size = 8 << 20
	p := newProject(t, "steps:\n  s: {run: x, inputs: [], outputs: [large]}\n", nil,
		inMemory{"s": func(_ context.Context, j job) (int, error) {
			if err := j.put("large", ""); err != nil {
				return 0, err
			}
			return 0, os.Truncate(filepath.Join(j.Staging, "large"), size)
		}})
	var looks atomic.Int64
	p.options.Now = func() time.Time { return time.Unix(looks.Add(1), 0) } // a second between any two
	var last event.StepProgress
	times := 0
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if b, ok := e.Body.(event.StepProgress); ok && b.Unit == "bytes" {
			if b.Current <= last.Current || b.Total != size || b.Doing != "hashing outputs" {
				t.Errorf("%+v after %+v", b, last)
			}
			last, times = b, times+1
		}
	}))
	p.run()
	if last.Current != size || times < 8 {
		t.Errorf("told %d times, the last time %+v", times, last)
	}
}
