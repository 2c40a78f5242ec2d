// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/cache"
)

// crashPack names the cache that the test binary compresses until it is killed.
const crashPack = "ATTEST_TEST_CACHE_PACK"

// TestCrashPackChild is what is killed while it compresses.
func TestCrashPackChild(t *testing.T) {
	dir := os.Getenv(crashPack)
	if dir == "" {
		return // not a child
	}
	w := newWorld(t, cache.Options{
		Dir: dir, Compress: true, Now: func() time.Time { return time.Now().Add(48 * time.Hour) },
	})
	_, _ = os.Stdout.WriteString("ready\n")
	if _, err := w.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
}

// TestKilledWhilePacking kills processes that compress, and uses what they leave as
// it is: nothing is lost, nothing is wrong, and nothing has to be repaired.
func TestKilledWhilePacking(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 5
	}
	all := files{}
	for i := range 60 {
		all[fmt.Sprint("file", i)] = fmt.Sprint(i, mixed(200_000))
	}
	amid, halves := 0, 0
	for round := range rounds {
		w := newWorld(t, cache.Options{})
		k := w.keep("many", all)
		killPacking(t, w)
		packed, half := crashForms(t, w.dir)
		if packed > 0 && packed < len(all) {
			amid++
			if size, err := os.ReadFile(filepath.Join(w.dir, "size")); err != nil || size[0] != '-' {
				t.Errorf("half done, and the next run believes in a size of %q, %v", size, err)
			}
		}
		if half > 0 {
			halves++
		}
		w.mustHave(k.Result, k.dir)
		next, from := result(t, "next", files{"out": fmt.Sprint("next", round)})
		if err := w.Put(t.Context(), next, from); err != nil {
			t.Error(err)
		}
		if v, err := w.Verify(t.Context(), cache.VerifyOptions{}); err != nil || len(v.Problems) > 0 || w.warned() > 0 {
			t.Errorf("verify: %+v, %v", v.Problems, err)
		}
		w.mustHave(k.Result, k.dir)
		if _, err := w.GC(t.Context()); err != nil {
			t.Error(err)
		}
		w.mustCount()
		if left := w.stored("outputs/tmp-*"); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		again := newWorld(t, cache.Options{Dir: w.dir, Compress: true, Now: func() time.Time { return time.Now().Add(96 * time.Hour) }})
		if _, err := again.GC(t.Context()); err != nil {
			t.Error(err)
		}
		if packed, half := crashForms(t, w.dir); packed != len(all) || half != 0 {
			t.Errorf("in the end %d are compressed, and %d half", packed, half)
		}
		again.mustCount()
		again.mustHave(k.Result, k.dir)
		if t.Failed() {
			t.Fatalf("after kill %d, with %d compressed", round, packed)
		}
	}
	t.Logf("of %d kills %d hit between contents, %d in the middle of one", rounds, amid, halves)
	if amid == 0 {
		t.Error("no kill hit")
	}
}

// killPacking has a process compress what the cache holds, and kills it soon.
func killPacking(t *testing.T, w *world) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashPackChild$")
	child.Env = append(os.Environ(), crashPack+"="+w.dir, "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Errorf("a process began with %q, %v", line, err)
	}
	for began := time.Now(); time.Since(began) < time.Minute; {
		if found, _ := filepath.Glob(filepath.Join(w.dir, "outputs/*/*.zst")); len(found) > 0 {
			break
		}
	}
	// Whatever the machine: sometimes at once, sometimes late.
	time.Sleep(time.Duration(rand.IntN(1<<rand.IntN(16))) * time.Microsecond)
	_ = child.Process.Kill()
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Errorf("a process ended before it was killed: %v", child.ProcessState)
	}
}
