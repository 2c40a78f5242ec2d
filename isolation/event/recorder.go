// SPDX-License-Identifier: Apache-2.0

package event

import (
	"sync"
	"time"
)

// Recorder turns what several goroutines report into the one ordered stream of
// events of a run: it numbers them, dates them, and hands them to a [Sink] one
// at a time. Safe for concurrent use.
type Recorder struct {
	sink Sink
	now  func() time.Time

	mu  sync.Mutex
	seq uint64
}

// NewRecorder returns a Recorder that delivers to sink, which may be nil to
// discard, and dates events by now, which may be nil for the system's clock.
func NewRecorder(sink Sink, now func() time.Time) *Recorder {
	if sink == nil {
		sink = SinkFunc(func(Event) {})
	}
	if now == nil {
		now = time.Now
	}
	return &Recorder{sink: sink, now: now}
}

// Record delivers one event, and returns when the sink has it.
func (r *Recorder) Record(b Body) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	r.sink.Emit(Event{Seq: r.seq, Time: r.now(), Body: b})
}
