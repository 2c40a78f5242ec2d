// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/cas"
)

// packAfter is how long nobody has used what is compressed though there is room.
const packAfter = 24 * time.Hour

// patience is how much is compressed at once.
type patience struct {
	idle    time.Duration // after which nothing more is begun of what nobody used for packAfter
	room    time.Duration // the same, where room is to be made: then what was used least recently goes
	largest int64         // content that is longer waits for somebody more patient
}

// atLeisure is the patience of those who asked for it. Who ended a run, or stores a
// result in the middle of one, has little.
func atLeisure() patience { return patience{math.MaxInt64, math.MaxInt64, math.MaxInt64} }
func atTheEnd() patience  { return patience{2 * time.Second, 2 * time.Second, 128 << 20} }
func between() patience   { return patience{0, 2 * time.Second, 128 << 20} }

// packing is content that stands verbatim.
type packing struct {
	blob cas.Blob
	part *part
}

// packable returns what may become smaller of the content that is needed, what was
// used least recently first.
func (v *survey) packable(due func(*part) bool) []packing {
	var list []packing
	for d, p := range v.blobs {
		if p.packable > 0 && p.refs > 0 && due(p) {
			list = append(list, packing{cas.Blob{Digest: d, Size: p.packable}, p})
		}
	}
	slices.SortFunc(list, func(a, b packing) int {
		if c := a.part.used.Compare(b.part.used); c != 0 {
			return c
		}
		return strings.Compare(a.blob.Digest.Hex(), b.blob.Digest.Hex())
	})
	return list
}

// packIdle compresses what nobody used for long. left says that something remains
// for the next time.
func (t *tidying) packIdle(ctx context.Context, p patience) (left bool, err error) {
	if !t.store.o.Compress {
		return false, nil
	}
	now, started := t.store.o.Now(), time.Now()
	due := t.survey.packable(func(c *part) bool { return now.Sub(c.used) > packAfter && c.packable <= p.largest })
	return t.pack(ctx, due, func() bool { return time.Since(started) < p.idle })
}

// pack compresses one after the other while there is need; left says that there was
// none before the end of the list. What is damaged is left to those who read it.
// The cache is held exclusively.
func (t *tidying) pack(ctx context.Context, list []packing, need func() bool) (left bool, err error) {
	if len(list) == 0 {
		return false, nil
	}
	if !need() {
		return true, nil
	}
	// What a kill leaves takes more of the disk than was there, and is counted
	// anew.
	if err := setSize(ctx, t.top, unknownSize); err != nil {
		return true, err
	}
	blobs, err := t.store.content()
	if err != nil {
		return true, err
	}
	var mu sync.Mutex // for list, and for t
	next := func() (packing, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(list) == 0 || !need() {
			return packing{}, false
		}
		one := list[0]
		list = list[1:]
		return one, true
	}
	done := func(p *part, saved int64) {
		mu.Lock()
		defer mu.Unlock()
		p.packable = 0
		p.disk -= saved
		t.size -= saved
		t.freed.Bytes += saved
		if saved > 0 {
			t.freed.Packed++
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		group.Go(func() error {
			for {
				one, ok := next()
				if !ok {
					return nil
				}
				saved, err := blobs.Pack(ctx, one.blob)
				done(one.part, saved)
				if err != nil && !errors.Is(err, cas.ErrDamaged) && !errors.Is(err, cas.ErrNotFound) {
					return err
				}
			}
		})
	}
	err = group.Wait()
	return len(list) > 0, err
}
