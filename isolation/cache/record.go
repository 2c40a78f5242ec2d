// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// FORMAT.md specifies the record of a Result. It is text of which every
// variable part has its length before it, and ends with its own digest.
const recordHeader = "attest.result/v1\n"

const (
	maxRecord = 512 << 20 // about three million outputs
	maxFacts  = 64 << 20  // about half a million files that a step read
	plenty    = 4096      // records for which there is memory before they were seen
)

// marshal returns the record of the entry.
func (e *Entry) marshal() []byte {
	b := make([]byte, 0, 512+len(e.Facts)+220*e.Outputs.Len())
	b = append(b, recordHeader...)
	b = fmt.Appendf(b, "key %s\nstored %d\n", e.Key.Hex(), e.Stored.UnixNano())
	b = append(b, "log "...)
	b = strconv.AppendInt(b, e.Log.Size, 10)
	b = appendDigest(b, e.Log.Digest)
	b = append(b, "\nfacts "...)
	b = appendText(b, string(e.Facts))
	b = fmt.Appendf(b, "\noutputs %d\n", e.Outputs.Len())
	for _, o := range e.Outputs.Entries() {
		b = append(b, kindLetter(o.Kind), ' ')
		b = appendPerm(b, o.Perm)
		b = append(b, ' ')
		b = strconv.AppendInt(b, o.Size, 10)
		b = appendDigest(b, o.Digest)
		b = appendDigest(b, o.SHA256)
		b = append(b, ' ')
		b = appendText(b, o.Path)
		if o.Kind == tree.Symlink {
			b = append(b, ' ')
			b = appendText(b, o.Target)
		}
		b = append(b, '\n')
	}
	b = fmt.Appendf(b, "folders %d\n", len(e.Folders))
	for _, f := range e.Folders {
		b = appendPerm(b, f.Perm)
		b = append(b, ' ')
		b = appendText(b, f.Path)
		b = append(b, '\n')
	}
	return fmt.Appendf(b, "end %s\n", digest.Of(b).Hex())
}

func kindLetter(k tree.Kind) byte {
	switch k {
	case tree.Symlink:
		return 'l'
	case tree.Dir:
		return 'd'
	default:
		return 'f'
	}
}

func appendPerm(b []byte, perm uint32) []byte {
	return append(b, '0', '0'+byte(perm>>6&7), '0'+byte(perm>>3&7), '0'+byte(perm&7))
}

func appendDigest(b []byte, d digest.Digest) []byte {
	if d.IsZero() {
		return append(b, " -"...)
	}
	return append(append(b, ' '), d.Hex()...)
}

func appendText(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

// unmarshal reads what marshal wrote for the key, and no other spelling of it.
// Errors match cas.ErrDamaged.
func unmarshal(key digest.Digest, data []byte) (*Entry, error) {
	p, err := openParser(data)
	if err != nil {
		return nil, err
	}
	e := p.entry()
	switch {
	case p.err == nil && len(p.rest) > 0:
		p.fail("more than it should hold")
	case p.err == nil && e.Key != key:
		p.fail("it is that of another key, " + e.Key.String())
	}
	if p.err != nil {
		return nil, fmt.Errorf("%w: %w", cas.ErrDamaged, p.err)
	}
	return e, nil
}

func (p *parser) entry() *Entry {
	e := &Entry{}
	p.literal(recordHeader)
	p.literal("key ")
	e.Key = p.digest(digest.BLAKE3, '\n')
	p.literal("stored ")
	e.Stored = time.Unix(0, p.int('\n'))
	p.literal("log ")
	e.Log.Size = p.size(' ')
	e.Log.Digest = p.digest(digest.BLAKE3, '\n')
	p.literal("facts ")
	e.Facts = []byte(p.text('\n'))
	if (e.Log.Size > 0) == e.Log.Digest.IsZero() {
		p.fail("a log without digest, or the reverse")
	}
	p.literal("outputs ")
	n := p.size('\n')
	outputs := make([]tree.Entry, 0, min(n, plenty))
	for ; n > 0 && p.err == nil; n-- {
		outputs = append(outputs, p.output())
	}
	p.literal("folders ")
	for n = p.size('\n'); n > 0 && p.err == nil; n-- {
		f := tree.Entry{Kind: tree.Dir, Perm: p.perm(' ')}
		f.Path = p.text('\n')
		e.Folders = append(e.Folders, f)
	}
	if p.err == nil {
		e.Outputs = p.tree(outputs)
	}
	if p.err == nil && !slices.EqualFunc(e.Folders, foldersOf(e.Outputs), func(f tree.Entry, path string) bool { return f.Path == path }) {
		p.fail("its folders are not those of its outputs")
	}
	return e
}

// tree makes a Tree of entries that are in order already.
func (p *parser) tree(entries []tree.Entry) tree.Tree {
	for i := range entries {
		if i > 0 && entries[i-1].Path >= entries[i].Path {
			p.fail("its outputs are not in order")
			return tree.Tree{}
		}
	}
	t, err := tree.New(entries)
	if err != nil {
		p.fail(err.Error())
	}
	return t
}

func (p *parser) output() (e tree.Entry) {
	switch kind := p.until(' '); kind {
	case "f":
		e.Kind = tree.File
	case "l":
		e.Kind = tree.Symlink
	case "d":
		e.Kind = tree.Dir
	default:
		p.fail(fmt.Sprintf("an output of kind %q", kind))
	}
	e.Perm = p.perm(' ')
	e.Size = p.size(' ')
	e.Digest = p.digest(digest.BLAKE3, ' ')
	e.SHA256 = p.digest(digest.SHA256, ' ')
	if e.Kind == tree.Symlink {
		e.Path = p.text(' ')
		e.Target = p.text('\n')
		if e.Size != int64(len(e.Target)) || e.Digest != digest.Of([]byte(e.Target)) || e.Perm != 0o777 {
			p.fail("a symbolic link that is not what its digest says")
		}
		return e
	}
	e.Path = p.text('\n')
	if isDir := e.Kind == tree.Dir; isDir != e.Digest.IsZero() || isDir && (e.Size != 0 || !e.SHA256.IsZero()) {
		p.fail("an output whose kind, digest and size disagree")
	}
	return e
}
