// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
)

var amd64 = ocispecs.Platform{OS: "linux", Architecture: "amd64"}

// made is an image without layers whose environment says what it is.
func made(t *testing.T, what string) v1.Image {
	t.Helper()
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.Config(img, v1.Config{Env: []string{"WHAT=" + what}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// added is an image with a name and a platform, either of which may be empty.
func added(t *testing.T, what, tag, platform string) mutate.IndexAddendum {
	t.Helper()
	a := mutate.IndexAddendum{Add: made(t, what)}
	if tag != "" {
		a.Annotations = map[string]string{ocispecs.AnnotationRefName: tag}
	}
	if platform != "" {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		a.Platform = p
	}
	return a
}

func written(t *testing.T, images ...mutate.IndexAddendum) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, images...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func nested(t *testing.T, tag string, images ...mutate.IndexAddendum) mutate.IndexAddendum {
	t.Helper()
	a := mutate.IndexAddendum{Add: mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), images...)}
	a.Annotations = map[string]string{ocispecs.AnnotationRefName: tag}
	return a
}

func TestLayout(t *testing.T) {
	one := written(t, added(t, "one", "", ""))
	several := written(t, added(t, "first", "1.0", ""), added(t, "latest", "latest", ""), added(t, "named", "docker.io/library/x:2.0", ""))
	platforms := written(t, added(t, "arm", "1", "linux/arm64"), added(t, "amd", "1", "linux/amd64"))
	index := written(t, nested(t, "1", added(t, "arm", "", "linux/arm64/v8"), added(t, "amd", "", "linux/amd64"),
		added(t, "attestation", "", "unknown/unknown")))
	for _, test := range []struct {
		name, ref, want string
		platform        ocispecs.Platform
	}{
		{"the only one", "oci-layout://" + one, "one", amd64},
		{"latest by default", "oci-layout://" + several, "latest", amd64},
		{"by tag", "oci-layout://" + several + ":1.0", "first", amd64},
		{"by the tag of a full name", "oci-layout://" + several + ":2.0", "named", amd64},
		{"by platform", "oci-layout://" + platforms + ":1", "amd", amd64},
		{"another platform", "oci-layout://" + platforms + ":1", "arm", ocispecs.Platform{OS: "linux", Architecture: "arm64"}},
		{"in an index", "oci-layout://" + index + ":1", "amd", amd64},
		{"a variant", "oci-layout://" + index + ":1", "arm", ocispecs.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
		{"any variant", "oci-layout://" + index + ":1", "arm", ocispecs.Platform{OS: "linux", Architecture: "arm64"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := image.Resolve(t.Context(), test.ref, "/", test.platform)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"WHAT=" + test.want}, got.Env); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if want := test.ref + "@" + got.Digest.String(); got.Pinned != want || got.Ref != test.ref {
				t.Errorf("pinned %q, want %q", got.Pinned, want)
			}
			again, err := image.Resolve(t.Context(), got.Pinned, "/", test.platform)
			if err != nil || again.Manifest != got.Manifest || again.Pinned != got.Pinned {
				t.Errorf("by its digest: %+v, %v", again, err)
			}
			if !filepath.IsAbs(got.Layout) {
				t.Errorf("layout %q is not absolute", got.Layout)
			}
		})
	}
}

func TestLayoutRelative(t *testing.T) {
	dir := written(t, added(t, "one", "", ""))
	got, err := image.Resolve(t.Context(), "oci-layout://"+filepath.Base(dir), filepath.Dir(dir), amd64)
	if err != nil || got.Layout != dir {
		t.Fatalf("layout %q, error %v, want %q", got.Layout, err, dir)
	}
}

// TestLayoutRefused damages a layout in every way that could have something
// else run than what its digest says, or have nothing run and not say why.
func TestLayoutRefused(t *testing.T) {
	blobs := func(dir string) []string {
		names, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
		if err != nil || len(names) < 2 {
			t.Fatalf("blobs %v, error %v", names, err)
		}
		return names
	}
	replace := func(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }
	for _, test := range []struct {
		name   string
		change func(dir string) error
		tag    string
		says   string
		hint   bool
	}{
		{"no such folder", func(dir string) error { return os.RemoveAll(dir) }, "", "there is no folder", true},
		{"no layout", func(dir string) error { return os.Remove(dir + "/oci-layout") }, "", "is no OCI layout", true},
		{"another version", func(dir string) error {
			return replace(dir+"/oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`))
		}, "", "version", false},
		{"no index", func(dir string) error { return os.Remove(dir + "/index.json") }, "", "index.json", false},
		{"index is no JSON", func(dir string) error { return replace(dir+"/index.json", []byte("{")) }, "", "index.json", false},
		{"index is empty", func(dir string) error { return replace(dir+"/index.json", []byte("{}")) }, "", "empty", false},
		{"index is too large", func(dir string) error { return os.Truncate(dir+"/index.json", 5<<20) }, "", "larger", false},
		{"index is a FIFO", func(dir string) error {
			return errors.Join(os.Remove(dir+"/index.json"), syscall.Mkfifo(dir+"/index.json", 0o644))
		}, "", "not a file", false},
		{"index is a folder", func(dir string) error {
			return errors.Join(os.Remove(dir+"/index.json"), os.Mkdir(dir+"/index.json", 0o755))
		}, "", "", false},
		{"digest leads elsewhere", func(dir string) error {
			return replace(dir+"/index.json", []byte(`{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`))
		}, "", "", false},
		{"digest of another kind", func(dir string) error {
			return replace(dir+"/index.json", []byte(`{"manifests":[{"digest":"sha512:`+strings.Repeat("a", 128)+`"}]}`))
		}, "", "", false},
		{"blobs changed", func(dir string) error {
			for _, name := range blobs(dir) {
				data, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				if err := replace(name, append(data, ' ')); err != nil {
					return err
				}
			}
			return nil
		}, "", "want sha256:", true},
		{"blobs gone", func(dir string) error { return os.RemoveAll(dir + "/blobs") }, "", "no such file", false},
		{"no such tag", func(string) error { return nil }, ":2", `nothing called "2"`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := written(t, added(t, "one", "1", ""))
			if err := test.change(dir); err != nil {
				t.Fatal(err)
			}
			wantImageError(t, "oci-layout://"+dir+test.tag, amd64, test.says, test.hint)
		})
	}
	t.Run("another platform", func(t *testing.T) {
		dir := written(t, added(t, "arm", "1", "linux/arm64"), added(t, "s390x", "1", "linux/s390x"))
		wantImageError(t, "oci-layout://"+dir, amd64, "no image for linux/amd64", true)
	})
	t.Run("indexes without end", func(t *testing.T) {
		add := added(t, "deep", "", "linux/amd64")
		for range 10 {
			add = nested(t, "1", add)
			add.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
		}
		wantImageError(t, "oci-layout://"+written(t, add), amd64, "indexes inside each other", false)
	})
	t.Run("no path", func(t *testing.T) { wantImageError(t, "oci-layout://", amd64, "no path", false) })
}

func wantImageError(t *testing.T, ref string, platform ocispecs.Platform, says string, hint bool) {
	t.Helper()
	got, err := image.Resolve(t.Context(), ref, "/", platform)
	var bad *executor.ImageError
	if !errors.As(err, &bad) || bad.Image != ref {
		t.Fatalf("resolved to %+v, error %v; want an ImageError", got, err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("the error %q does not say %q", err, says)
	}
	var hinted *executor.HintedError
	if hint != errors.As(err, &hinted) {
		t.Errorf("has hints: %t, want %t: %v", !hint, hint, err)
	}
}

// serve is a registry on loopback that holds an image and counts requests.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request) bool) (string, *atomic.Int64) {
	t.Helper()
	var count atomic.Int64
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodGet {
			count.Add(1)
		}
		if answer == nil || !answer(w, r) {
			next.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), &count
}

func pushed(t *testing.T, ref string, index v1.ImageIndex) {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(parsed, index); err != nil {
		t.Fatal(err)
	}
}

func TestRegistry(t *testing.T) {
	host, _ := serve(t, nil)
	ref := host + "/team/tool:1"
	pushed(t, ref, mutate.AppendManifests(empty.Index, added(t, "arm", "", "linux/arm64"), added(t, "amd", "", "linux/amd64")))
	got, err := image.Resolve(t.Context(), ref, "/", amd64)
	if err != nil {
		t.Fatal(err)
	}
	if got.Pinned != ref+"@"+got.Digest.String() || got.Env[0] != "WHAT=amd" || got.Layout != "" || got.Digest == got.Manifest {
		t.Errorf("resolved to %+v", got)
	}
	again, err := image.Resolve(t.Context(), got.Pinned, "/", amd64)
	if err != nil || again.Manifest != got.Manifest || again.Pinned != got.Pinned {
		t.Errorf("by its digest: %+v, %v", again, err)
	}
	wantImageError(t, ref, ocispecs.Platform{OS: "linux", Architecture: "riscv64"}, "no image for linux/riscv64", true)
	wantImageError(t, host+"/team/other:1", amd64, "no such image", true)
	wantImageError(t, host+"/team/tool@sha256:"+strings.Repeat("0", 64), amd64, "no such image", true)
	wantImageError(t, "127.0.0.1:1/team/tool:1", amd64, "reaching 127.0.0.1:1", true)
	wantImageError(t, "Not A Name", amd64, "", true)
}

func TestRegistryDenies(t *testing.T) {
	host, _ := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED"}}})
		return true
	})
	wantImageError(t, host+"/team/tool:1", amd64, "denies access", true)
}

// TestRegistryLies: what the registry sends is not what was asked for by digest.
func TestRegistryLies(t *testing.T) {
	other, err := made(t, "other").RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	host, _ := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return false
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		_, _ = w.Write(other)
		return true
	})
	want, err := made(t, "wanted").Digest()
	if err != nil {
		t.Fatal(err)
	}
	wantImageError(t, host+"/team/tool@"+want.String(), amd64, want.String(), false)
}

func TestRegistryStalls(t *testing.T) {
	stop := make(chan struct{})
	host, _ := serve(t, func(http.ResponseWriter, *http.Request) bool { <-stop; return true })
	defer close(stop)
	why := errors.New("the user went away")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, why)
	defer cancel()
	if _, err := image.Resolve(ctx, host+"/team/tool:1", "/", amd64); !errors.Is(err, why) {
		t.Fatalf("error %v, want the cause of the context alone", err)
	}
}

// TestResolver: one question for each image, whoever asks; errors are asked again.
func TestResolver(t *testing.T) {
	host, count := serve(t, nil)
	r := image.NewResolver("/", amd64)
	ref := host + "/team/tool:1"
	if _, err := r.Resolve(t.Context(), ref); err == nil {
		t.Fatal("an image that is not there resolved")
	}
	pushed(t, ref, mutate.AppendManifests(empty.Index, added(t, "amd", "", "linux/amd64")))
	count.Store(0)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if img, err := r.Resolve(t.Context(), ref); err != nil || img.Ref != ref {
				t.Errorf("%+v, %v", img, err)
			}
		})
	}
	group.Wait()
	if n := count.Load(); n != 2 { // the index and the manifest
		t.Errorf("%d manifests were asked for, want 2", n)
	}
}
