// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// maxDocument bounds the JSON documents of an image; real ones are a few kB.
const maxDocument = 4 << 20

// maxDepth bounds how many indexes may stand around a manifest.
const maxDepth = 4

// tagPattern is compiled at the first layout: most runs have none.
var tagPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\w][\w.-]{0,127}$`) })

// layoutRef is what stands behind "oci-layout://".
type layoutRef struct {
	path, tag string
	digest    digest.Digest // zero where there is none
}

func parseLayout(rest string) (layoutRef, error) {
	r := layoutRef{path: rest}
	if before, after, ok := strings.Cut(rest, "@"); ok && strings.HasPrefix(after, "sha256:") {
		d, err := digest.Parse(after)
		if err != nil {
			return r, err
		}
		r.path, r.digest = before, d
	}
	if i := strings.LastIndexByte(r.path, ':'); i >= 0 && tagPattern().MatchString(r.path[i+1:]) {
		r.path, r.tag = r.path[:i], r.path[i+1:]
	}
	if r.path == "" {
		return r, errors.New("no path of a folder")
	}
	return r, nil
}

func resolveLayout(ref, rest, baseDir string, platform ocispecs.Platform) (Image, error) {
	r, err := parseLayout(rest)
	if err != nil {
		return Image{}, err
	}
	if !filepath.IsAbs(r.path) {
		r.path = filepath.Join(baseDir, r.path)
	}
	l := layout{r.path}
	top, err := l.find(r, platform)
	if err != nil {
		return Image{}, err
	}
	manifest, body, err := l.manifest(top, platform)
	if err != nil {
		return Image{}, err
	}
	var m ocispecs.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return Image{}, fmt.Errorf("reading manifest %s: %w", manifest, err)
	}
	var config ocispecs.Image
	if _, err := l.document(m.Config, &config); err != nil {
		return Image{}, err
	}
	return Image{Ref: ref, Pinned: pin(ref, top.digest), Digest: top.digest,
		Manifest: manifest, Env: config.Config.Env, Layout: r.path}, nil
}

// layout is a folder in the OCI image layout (image-spec, image-layout.md).
type layout struct{ dir string }

// descriptor is an OCI descriptor whose digest was parsed.
type descriptor struct {
	ocispecs.Descriptor
	digest digest.Digest
}

func parsed(d ocispecs.Descriptor) (descriptor, error) {
	sum, err := digest.Parse(d.Digest.String())
	if err == nil && sum.Algorithm() != digest.SHA256 {
		err = fmt.Errorf("digest %s: only sha256 is supported", d.Digest)
	}
	return descriptor{d, sum}, err
}

// find returns what the reference names in index.json.
func (l layout) find(r layoutRef, platform ocispecs.Platform) (descriptor, error) {
	if err := l.check(); err != nil {
		return descriptor{}, err
	}
	if !r.digest.IsZero() {
		return descriptor{ocispecs.Descriptor{}, r.digest}, nil
	}
	data, err := readRegular(filepath.Join(l.dir, ocispecs.ImageIndexFile))
	if err != nil {
		return descriptor{}, err
	}
	var index ocispecs.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return descriptor{}, fmt.Errorf("reading %s: %w", ocispecs.ImageIndexFile, err)
	}
	named, err := byTag(index.Manifests, r.tag)
	if err != nil {
		return descriptor{}, err
	}
	if len(named) == 1 {
		return parsed(named[0])
	}
	one, err := choose(named, platform)
	if err != nil {
		return descriptor{}, err
	}
	return parsed(one)
}

func (l layout) check() error {
	data, err := readRegular(filepath.Join(l.dir, ocispecs.ImageLayoutFile))
	var mark ocispecs.ImageLayout
	if err == nil {
		err = json.Unmarshal(data, &mark)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, statErr := os.Stat(l.dir); statErr != nil {
			return &executor.HintedError{Err: fmt.Errorf("there is no folder %s", l.dir),
				Hints: []string{"the path of an oci-layout:// image is relative to the folder of attest.yaml"}}
		}
		return &executor.HintedError{Err: fmt.Errorf("%s is no OCI layout: it has no file %s", l.dir, ocispecs.ImageLayoutFile),
			Hints: []string{"skopeo copy docker://NAME oci:DIR:TAG makes one"}}
	case err != nil:
		return fmt.Errorf("reading %s: %w", ocispecs.ImageLayoutFile, err)
	case !strings.HasPrefix(mark.Version, "1."):
		return fmt.Errorf("layout version %q is not known", mark.Version)
	}
	return nil
}

// byTag returns what bears the tag, which may be several manifests for as many
// platforms. No tag means "latest", or all there is where nothing is called so.
func byTag(all []ocispecs.Descriptor, tag string) ([]ocispecs.Descriptor, error) {
	bears := func(d ocispecs.Descriptor, tag string) bool {
		name := d.Annotations[ocispecs.AnnotationRefName]
		return name == tag || strings.HasSuffix(name, ":"+tag)
	}
	var named []ocispecs.Descriptor
	for _, d := range all {
		if bears(d, tag) || tag == "" && bears(d, "latest") {
			named = append(named, d)
		}
	}
	if len(named) > 0 || tag == "" && len(all) > 0 {
		if len(named) == 0 {
			named = all
		}
		return named, nil
	}
	if tag == "" {
		return nil, errors.New("the layout is empty")
	}
	err := fmt.Errorf("the layout has nothing called %q", tag)
	var names []string
	for _, d := range all {
		if name := d.Annotations[ocispecs.AnnotationRefName]; name != "" {
			names = append(names, name)
		}
	}
	if slices.Sort(names); len(names) > 0 {
		return nil, &executor.HintedError{Err: err, Hints: []string{"it has " + strings.Join(names, ", ")}}
	}
	return nil, err
}

// manifest follows indexes from d to the manifest for the platform.
func (l layout) manifest(d descriptor, platform ocispecs.Platform) (digest.Digest, []byte, error) {
	for range maxDepth {
		var head struct {
			MediaType string                `json:"mediaType"`
			Manifests []ocispecs.Descriptor `json:"manifests"`
			Config    ocispecs.Descriptor   `json:"config"`
		}
		body, err := l.document(ocispecs.Descriptor{Digest: ociDigest(d.digest)}, &head)
		if err != nil {
			return digest.Digest{}, nil, err
		}
		if head.Config.Digest != "" {
			return d.digest, body, nil
		}
		next, err := choose(head.Manifests, platform)
		if err != nil {
			return digest.Digest{}, nil, err
		}
		if d, err = parsed(next); err != nil {
			return digest.Digest{}, nil, err
		}
	}
	return digest.Digest{}, nil, fmt.Errorf("more than %d indexes inside each other", maxDepth)
}

// document reads a JSON blob into v and returns its bytes, which were checked
// against the digest.
func (l layout) document(d ocispecs.Descriptor, v any) ([]byte, error) {
	sum, err := parsed(d)
	if err != nil {
		return nil, err
	}
	data, err := readRegular(filepath.Join(l.dir, ocispecs.ImageBlobsDir, sum.digest.Algorithm().String(), sum.digest.Hex()))
	if err != nil {
		return nil, err
	}
	if got := digest.OfSHA256(data); got != sum.digest {
		return nil, &executor.HintedError{Err: &digest.MismatchError{Want: sum.digest, Got: got},
			Hints: []string{"the layout is damaged: make it again"}}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Digest, err)
	}
	return data, nil
}

// readRegular reads a file that must be a regular one of no more than
// maxDocument bytes.
func readRegular(name string) ([]byte, error) {
	f, err := openNonblocking(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxDocument)
	}
	return data, err
}
