// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/attest-pipeline/attest/isolation/image"
)

// TestPinner asks a registry once for a tag, and for no more than its digest.
func TestPinner(t *testing.T) {
	var asked []string
	closed := false
	host, _ := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if closed {
			panic(http.ErrAbortHandler)
		}
		asked = append(asked, r.Method+" "+r.URL.Path)
		return false
	})
	ref := host + "/team/tool:1"
	push := func(what string) string {
		t.Helper()
		pushed(t, ref, mutate.AppendManifests(empty.Index, added(t, what, "", "linux/amd64")))
		img, err := image.Resolve(t.Context(), ref, "/", amd64)
		if err != nil {
			t.Fatal(err)
		}
		asked = nil
		return img.Pinned
	}
	dir := filepath.Join(t.TempDir(), "images")
	var warned []string
	pin := func() (string, error) {
		warned = nil
		p := image.NewPinner(image.PinnerOptions{Dir: dir, Warn: func(s string) { warned = append(warned, s) }})
		_, _ = p.Pin(t.Context(), ref)
		return p.Pin(t.Context(), ref)
	}

	first := push("one")
	if got, err := pin(); got != first || err != nil || len(warned) > 0 {
		t.Errorf("got %s, %v, %q; want %s", got, err, warned, first)
	}
	if got := strings.Join(asked, ", "); got != "GET /v2/, HEAD /v2/team/tool/manifests/1" {
		t.Errorf("asked %s", got)
	}
	second := push("two")
	if got, err := pin(); got != second || first == second || err != nil {
		t.Errorf("after another image was pushed: %s, %v", got, err)
	}

	// Nobody is there: the last answer counts.
	closed = true
	if got, err := pin(); got != second || err != nil || len(warned) != 1 || !strings.Contains(warned[0], "going on with") {
		t.Errorf("without a registry: %s, %v, %q", got, err, warned)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	// What is not a digest is not an answer.
	for _, rubbish := range []string{"x", "blake3:" + strings.Repeat("0", 64)} {
		if err := os.WriteFile(files[0], []byte(rubbish), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if got, err := image.NewPinner(image.PinnerOptions{Dir: dir}).Pin(ctx, ref); err == nil {
			t.Errorf("with %q remembered: %s", rubbish, got)
		}
		cancel()
	}

	// A digest needs nobody.
	if got, err := image.NewPinner(image.PinnerOptions{}).Pin(t.Context(), second); got != second || err != nil {
		t.Errorf("by digest: %s, %v", got, err)
	}
}

// TestPinnerBelievesARefusal: an answer is an answer.
func TestPinnerBelievesARefusal(t *testing.T) {
	gone := false
	host, _ := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if gone {
			w.WriteHeader(http.StatusNotFound)
		}
		return gone
	})
	ref := host + "/team/tool:1"
	pushed(t, ref, mutate.AppendManifests(empty.Index, added(t, "one", "", "linux/amd64")))
	o := image.PinnerOptions{Dir: t.TempDir()}
	if _, err := image.NewPinner(o).Pin(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	gone = true
	if got, err := image.NewPinner(o).Pin(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "no such image") {
		t.Errorf("an image that is gone is %s, %v", got, err)
	}
}
