// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// TestWorkIsDoneOnce has many ask for the same work at the same time, through
// two Stores as two processes would.
func TestWorkIsDoneOnce(t *testing.T) {
	first := newWorld(t, cache.Options{})
	second := newWorld(t, cache.Options{Dir: first.dir})
	r, from := result(t, "build", files{"out": "1"})
	var done, waited atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		w := []*world{first, second}[i%2]
		all.Go(func() {
			held, err := w.Reserve(t.Context(), r.Key, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer held.Release()
			if held.Waited {
				waited.Add(1)
			}
			if _, err := w.Get(t.Context(), r.Key); err == nil {
				return
			}
			done.Add(1)
			time.Sleep(20 * time.Millisecond)
			if err := w.Put(t.Context(), r, from); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 || waited.Load() == 0 {
		t.Errorf("done %d times; %d waited", done.Load(), waited.Load())
	}
	if left := first.stored("locks/*"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestReserve(t *testing.T) {
	w := newWorld(t, cache.Options{})
	one, two := digest.Of([]byte("1")), digest.Of([]byte("2"))
	held, err := w.Reserve(t.Context(), one, nil)
	if err != nil || held.Waited {
		t.Fatal(held, err)
	}
	other, err := w.Reserve(t.Context(), two, func() { t.Error("waits for another key") })
	if err != nil {
		t.Fatal(err)
	}
	other.Release()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := 0
	if _, err := w.Reserve(ctx, one, func() { asked++; cancel(why) }); !errors.Is(err, why) || asked != 1 {
		t.Errorf("got %v after %d calls", err, asked)
	}
	held.Release()
	again, err := w.Reserve(t.Context(), one, nil)
	if err != nil || again.Waited {
		t.Errorf("got %+v, %v", again, err)
	}
	held.Release() // a second time, which must not release what others have
	ctx, cancel = context.WithCancelCause(t.Context())
	if _, err := w.Reserve(ctx, one, func() { cancel(why) }); !errors.Is(err, why) {
		t.Error("a second Release released somebody else's")
	}
	again.Release()
}

// TestManyWritersAndGC has several Stores put, get, restore and evict at the
// same time.
func TestManyWritersAndGC(t *testing.T) {
	first := newWorld(t, cache.Options{Compress: true, MaxSize: 400_000})
	var all sync.WaitGroup
	type made struct {
		result cache.Result
		put    func(*world) error
		from   string
	}
	var steps []made
	for i := range 8 {
		dir := t.TempDir()
		writeTo(t, dir, "own", fmt.Sprint(i, mixed(60_000)))
		writeTo(t, dir, "shared/of two", fmt.Sprint(i/2, mixed(80_000)))
		r, from := resultOf(t, fmt.Sprint("step", i), dir)
		steps = append(steps, made{r, func(w *world) error { return w.Put(t.Context(), r, from) }, dir})
	}
	worlds := []*world{first}
	for range 3 {
		worlds = append(worlds, newWorld(t, cache.Options{Dir: first.dir, MaxSize: 400_000}))
	}
	var hits atomic.Int64
	for k, w := range worlds {
		all.Go(func() {
			for round := range 12 {
				s := steps[(round*5+k*3)%len(steps)]
				dir, err := w.restore(s.result.Key)
				switch {
				case err == nil:
					hits.Add(1)
					if got, want := fmt.Sprint(snapshot(t, dir)), fmt.Sprint(snapshot(t, s.from)); got != want {
						t.Error("restored something else")
					}
				case errors.Is(err, cache.ErrMiss):
					if err := s.put(w); err != nil {
						t.Error(err)
					}
				default:
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 10 {
			if _, err := first.GC(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	all.Wait()
	for _, w := range worlds {
		if n := w.warned(); n > 0 {
			t.Errorf("%d warnings", n)
		}
	}
	if v, err := first.Verify(t.Context(), cache.VerifyOptions{}); err != nil || len(v.Problems) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if got := usage(t, first.dir); got > 400_000+slack {
		t.Errorf("the cache takes %d bytes", got)
	}
	t.Logf("%d hits", hits.Load())
}
