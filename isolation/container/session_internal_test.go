// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/session/filesync"
	fstypes "github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc/metadata"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/llb/compile"
)

// asker is an engine that takes no content before it has asked for all files.
type asker struct {
	filesync.FileSync_DiffCopyServer
	ctx      context.Context
	requests chan *fstypes.Packet // holds none that was not asked for
	asked    chan struct{}        // closed when all were handed over

	mu      sync.Mutex
	files   []uint32
	entries uint32
	got     map[uint32]string
	ended   int
}

func (a *asker) Context() context.Context { return a.ctx }

func (a *asker) RecvMsg(m any) error {
	select {
	case p, ok := <-a.requests:
		if !ok {
			return io.EOF
		}
		to := m.(*fstypes.Packet)
		to.Type, to.ID = p.Type, p.ID
		return nil
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}

func (a *asker) SendMsg(m any) error {
	p := m.(*fstypes.Packet)
	switch p.Type {
	case fstypes.PACKET_STAT:
		if p.Stat == nil {
			go a.ask()
			return nil
		}
		if os.FileMode(p.Stat.Mode).IsRegular() {
			a.files = append(a.files, a.entries)
		}
		a.entries++
	case fstypes.PACKET_DATA:
		select {
		case <-a.asked:
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got[p.ID] += string(p.Data)
		if len(p.Data) == 0 {
			if a.ended++; a.ended == len(a.files) {
				a.requests <- &fstypes.Packet{Type: fstypes.PACKET_FIN}
			}
		}
	}
	return nil
}

func (a *asker) ask() {
	for _, id := range a.files {
		a.requests <- &fstypes.Packet{Type: fstypes.PACKET_REQ, ID: id}
	}
	close(a.asked)
}

var errTooLong = errors.New("it waits for content to be taken before it hears of more files")

// TestRequestsAreTaken asks for more files than BuildKit's sender keeps in mind.
func TestRequestsAreTaken(t *testing.T) {
	dir := t.TempDir()
	var entries []tree.Entry
	for i := range 1000 {
		content := fmt.Appendf(nil, "content %d", i)
		name := fmt.Sprintf("f%04d", i)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, tree.Entry{Path: name, Kind: tree.File, Perm: 0o644, Size: int64(len(content)), Digest: digest.Of(content)})
	}
	planned, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errTooLong)
	defer cancel()
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("dir-name", compile.InputsName))
	a := &asker{ctx: ctx, requests: make(chan *fstypes.Packet), asked: make(chan struct{}), got: map[uint32]string{}}
	in := newInputs(root, planned, nil, newReporter(nil))
	if err := newSender(in).DiffCopy(a); err != nil {
		t.Fatal(err)
	}
	if in.err() != nil {
		t.Error(in.err())
	}
	for i := range entries {
		if want := fmt.Sprintf("content %d", i); a.got[uint32(i)] != want {
			t.Fatalf("file %d: got %q", i, a.got[uint32(i)])
		}
	}
}
