// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"path"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// findings.go has what was found out about a step besides what it was given and
// left: the way into the document, the way back, and what is wanted of it.

func fetchesOf(all []Fetch) []fetchDoc {
	docs := make([]fetchDoc, len(all))
	for i, f := range all {
		docs[i] = fetchDoc{f.URL, f.SHA256.Hex()}
	}
	return docs
}

func filesOf(all []File) []fileDoc {
	docs := make([]fileDoc, len(all))
	for i, f := range all {
		docs[i] = fileDoc{f.Path, f.Hash.String()}
	}
	return docs
}

func reproductionOf(r *Reproduction) *reproductionDoc {
	if r == nil {
		return nil
	}
	d := &reproductionDoc{Verdict: string(r.Verdict), Varied: r.Varied}
	for _, x := range r.Differences {
		d.Differences = append(d.Differences, differenceDoc{x.Path, x.Inside, offset(x.Offset), x.Cause})
	}
	return d
}

func (c *converter) fetches(docs []fetchDoc) []Fetch {
	var all []Fetch
	for _, d := range docs {
		all = append(all, Fetch{d.URL, c.digest("sha256:" + d.SHA256)})
	}
	return all
}

func (c *converter) files(docs []fileDoc) []File {
	var all []File
	for _, d := range docs {
		all = append(all, File{d.Path, c.digest(d.Hash)})
	}
	return all
}

func (d *reproductionDoc) reproduction() *Reproduction {
	if d == nil {
		return nil
	}
	r := &Reproduction{Verdict: Verdict(d.Verdict), Varied: d.Varied}
	for _, x := range d.Differences {
		r.Differences = append(r.Differences, Difference{x.Path, x.Inside, int64(x.Offset), x.Cause})
	}
	return r
}

// findings checks what was found out about a step.
func (c *checker) findings(where string, s *Step) {
	c.names(where+": caches", s.Caches)
	c.names(where+": secrets", s.Secrets)
	c.names(where+": unfetched", s.Unfetched)
	c.names(where+": missing_programs", s.MissingPrograms)
	for _, list := range []struct {
		what  string
		paths []string
	}{{"missing", s.Missing}, {"unread", s.Unread}, {"unexpected", s.Unexpected}, {"modified", s.Modified}} {
		c.names(where+": "+list.what, list.paths)
		for _, p := range list.paths {
			c.want(cleanPath(p), "%s: %s: %q is not a clean relative path", where, list.what, p)
		}
	}
	for i, f := range s.Fetched {
		c.text(where+": fetched", f.URL)
		c.want(f.URL != "", "%s: fetched: no url", where)
		c.want(f.SHA256.Algorithm() == digest.SHA256, "%s: %q has no SHA-256 digest", where, f.URL)
		c.want(i == 0 || less(s.Fetched[i-1], f), "%s: fetched: %q is out of order", where, f.URL)
	}
	c.files(where+": read", s.Read, cleanPath)
	c.files(where+": programs", s.Programs, func(p string) bool {
		return path.IsAbs(p) && path.Clean(p) == p && strings.IndexByte(p, 0) < 0
	})
	if s.Reproduction != nil {
		c.reproduction(where+": reproduction", s.Reproduction)
	}
}

func less(a, b Fetch) bool {
	return a.URL < b.URL || a.URL == b.URL && a.SHA256.Hex() < b.SHA256.Hex()
}

// names wants strings in order, each once.
func (c *checker) names(where string, all []string) {
	c.text(where, all...)
	for i, s := range all {
		c.want(s != "", "%s: an empty name", where)
		c.want(i == 0 || all[i-1] < s, "%s: %q is out of order", where, s)
	}
}

func (c *checker) files(where string, all []File, clean func(string) bool) {
	for i, f := range all {
		c.text(where, f.Path)
		c.want(clean(f.Path), "%s: %q is not a clean path", where, f.Path)
		c.digest(where+": "+f.Path, f.Hash, false)
		c.want(i == 0 || all[i-1].Path < f.Path, "%s: %q is out of order", where, f.Path)
	}
}

// maxOffset keeps offsets within what JSON numbers hold exactly.
const maxOffset = 1 << 53

func (c *checker) reproduction(where string, r *Reproduction) {
	c.want(r.Verdict == Identical || r.Verdict == Different, "%s: verdict %q", where, r.Verdict)
	c.want((len(r.Differences) > 0) == (r.Verdict == Different), "%s: the verdict is %q with %d differences", where, r.Verdict, len(r.Differences))
	c.names(where+": varied", r.Varied)
	for _, d := range r.Differences {
		c.text(where, d.Path, d.Inside, d.Cause)
		c.want(cleanPath(d.Path), "%s: %q is not a clean relative path", where, d.Path)
		c.want(d.Cause != "", "%s: %q differs without a cause", where, d.Path)
		c.want(d.Offset >= 0 && d.Offset < maxOffset, "%s: %q: offset %d", where, d.Path, d.Offset)
	}
}
