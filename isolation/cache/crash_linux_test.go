// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/cache"
)

// The variables that make the test binary a process to be killed.
const (
	crashDir  = "ATTEST_TEST_CACHE_CRASH"
	crashSeed = "ATTEST_TEST_CACHE_SEED"
)

const crashSteps = 12

// crashWork makes the outputs of a step, the same in every process. Half of them
// can be compressed.
func crashWork(dir string, step int) error {
	big := 50_000 + step*20_000
	for path, content := range map[string]string{
		"out/own":    fmt.Sprint("step ", step, mixed(big)),
		"out/shared": fmt.Sprint("pair ", step/2, mixed(60_000)),
		"small":      fmt.Sprint(step),
	} {
		full := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// TestCrashChild is what is killed: it uses a cache in every way.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return // not a child
	}
	seed, _ := strconv.ParseUint(os.Getenv(crashSeed), 10, 64)
	r := rand.New(rand.NewPCG(seed, 0))
	o := cache.Options{Dir: filepath.Join(dir, "cache"), MaxSize: 1 << 20, Compress: seed%2 == 0}
	if seed%4 == 0 { // to which all that others use is old
		o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	}
	w := newWorld(t, o)
	_, _ = os.Stdout.WriteString("ready\n")
	// Should nobody be left to kill it, it ends by itself.
	for started := time.Now(); time.Since(started) < time.Minute; {
		step := r.IntN(crashSteps)
		res, from := resultOf(t, fmt.Sprint("step", step), filepath.Join(dir, "work", strconv.Itoa(step)))
		switch r.IntN(16) {
		case 0, 1:
			if _, err := w.GC(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 2, 3:
			if err := w.SaveLast("p", map[string]digest.Digest{fmt.Sprint("step", step): res.Key}); err != nil {
				t.Fatal(err)
			}
		case 4:
			if r.IntN(4) > 0 {
				continue
			}
			if _, err := w.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
			held, err := w.Reserve(t.Context(), res.Key, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.restore(res.Key); errors.Is(err, cache.ErrMiss) {
				err = w.Put(t.Context(), res, from)
				if err != nil {
					t.Fatal(err)
				}
			}
			held.Release()
		}
	}
}

// TestKilledAtAnyMoment kills processes that use one cache, at random moments,
// and looks after each time: nothing is wrong, nothing is damaged, nothing
// waits for the dead, and no repair is needed.
func TestKilledAtAnyMoment(t *testing.T) {
	rounds := 100
	if n, err := strconv.Atoi(os.Getenv("ATTEST_TEST_KILLS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 10
	}
	dir := t.TempDir()
	want := map[int]map[string]string{}
	for step := range crashSteps {
		work := filepath.Join(dir, "work", strconv.Itoa(step))
		if err := crashWork(work, step); err != nil {
			t.Fatal(err)
		}
		want[step] = snapshot(t, work)
	}
	hits, packed, amid := 0, 0, 0
	for round := range rounds {
		killTwo(t, dir, round)
		p, both := crashForms(t, filepath.Join(dir, "cache"))
		packed, amid = packed+p, amid+both
		w := newWorld(t, cache.Options{Dir: filepath.Join(dir, "cache"), MaxSize: 1 << 20})
		hits += crashLook(t, w, dir, want)
		if t.Failed() {
			t.Fatalf("after kill %d", round)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d results in the cache afterwards, %d contents compressed, %d being compressed", 2*rounds, hits, packed, amid)
	if hits == 0 {
		t.Error("there was never anything to be found")
	}
}

// crashForms looks at what the dead left before it is touched: how much of the
// content is compressed, and how much was just being so. It makes sure that the
// cache knows of what it takes of the disk, or knows that it does not.
func crashForms(t *testing.T, dir string) (packed, amid int) {
	t.Helper()
	w := &world{t: t, dir: dir}
	for _, p := range w.stored("outputs/*/*.zst") {
		if _, err := os.Stat(strings.TrimSuffix(p, ".zst")); err == nil {
			amid++
		}
		packed++
	}
	for _, p := range w.stored("outputs/tmp-*") {
		head := make([]byte, 4)
		if f, err := os.Open(p); err == nil {
			_, _ = f.Read(head)
			_ = f.Close()
		}
		if string(head) == "\x28\xb5\x2f\xfd" { // RFC 8878, section 3.1.1
			amid++
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "size"))
	known, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	// The last keys of pipelines, written without the lock, are not counted before
	// the next look.
	last := int64(4096 * len(w.stored("metadata/last/*")))
	if there := w.counted() - last; err == nil && known >= 0 && known < there {
		t.Errorf("the cache thinks that it takes %d bytes, and takes %d", known, there)
	}
	return packed, amid
}

// killTwo starts two processes, lets both get to work, and kills them one after
// the other.
func killTwo(t *testing.T, dir string, round int) {
	t.Helper()
	var children [2]*exec.Cmd
	var ready [2]*bufio.Reader
	for k := range children {
		child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
		child.Env = append(os.Environ(), crashDir+"="+dir, crashSeed+"="+strconv.Itoa(2*round+k), "TMPDIR="+t.TempDir())
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		children[k], ready[k] = child, bufio.NewReader(out)
	}
	for k, child := range children {
		if line, err := ready[k].ReadString('\n'); line != "ready\n" {
			t.Errorf("a process began with %q, %v", line, err)
		}
		time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
		_ = child.Process.Kill()
		if err := child.Wait(); err == nil || child.ProcessState.Exited() {
			t.Errorf("a process ended before it was killed: %v", child.ProcessState)
		}
	}
}

// crashLook reads what the dead left, and returns how many results there are.
func crashLook(t *testing.T, w *world, dir string, want map[int]map[string]string) (hits int) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("somebody dead is waited for"))
	defer cancel()
	for step := range crashSteps {
		res, from := resultOf(t, fmt.Sprint("step", step), filepath.Join(dir, "work", strconv.Itoa(step)))
		held, err := w.Reserve(ctx, res.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		held.Release()
		got, err := w.restore(res.Key)
		switch {
		case err == nil:
			hits++
			if fmt.Sprint(snapshot(t, got)) != fmt.Sprint(want[step]) {
				t.Errorf("step %d was restored wrong", step)
			}
		case !errors.Is(err, cache.ErrMiss):
			t.Error(err)
		}
		if step == 0 {
			if err := w.Put(ctx, res, from); err != nil {
				t.Error(err)
			}
			if _, err := w.restore(res.Key); err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(w.warnings); n > 0 {
		t.Errorf("warnings: %v", w.warnings)
	}
	if v, err := w.Verify(ctx, cache.VerifyOptions{}); err != nil || len(v.Problems) > 0 {
		t.Errorf("verify: %+v, %v", v.Problems, err)
	}
	if got := usage(t, w.dir); got > 2<<20 {
		t.Errorf("the cache takes %d bytes", got)
	}
	return hits
}
