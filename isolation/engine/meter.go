// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// meterPause is how long nothing is said of what goes on, so that small outputs cost
// no events.
const meterPause = 250 * time.Millisecond

// meter tells how far the reading of files is: large ones take minutes, and one with
// holes is read for as long as it says it is. Safe for concurrent use.
type meter struct {
	tell func(executor.Progress)
	now  func() time.Time

	mu   sync.Mutex
	said time.Time
	at   executor.Progress
}

func (w *walk) newMeter(doing string, files tree.Found) *meter {
	m := &meter{tell: w.progress, now: w.run.Now, said: w.run.Now(), at: executor.Progress{Doing: doing, Unit: "bytes"}}
	for i, e := range files.Entries {
		if e.Kind == tree.File {
			m.at.Total += files.Stats[i].Size
		}
	}
	return m
}

// add counts bytes.
func (m *meter) add(bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at.Current += int64(bytes)
	if now := m.now(); now.Sub(m.said) >= meterPause {
		m.said = now
		m.tell(m.at)
	}
}
