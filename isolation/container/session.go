// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"

	"github.com/attest-pipeline/attest/llb/compile"
)

// solveWith solves the definition, while the engine reaches over a session what it
// needs from here. BuildKit's client would make the session itself, but with a
// sender of inputs that leaves what the engine asks for in gRPC's buffers.
func (s *solve) solveWith(ctx context.Context, def *llb.Definition, status chan *client.SolveStatus) error {
	o := s.options()
	open, err := s.session(ctx, o)
	if err != nil {
		close(status) // as the client does, for whoever reads it
		return err
	}
	o.SharedSession, o.SessionPreInitialized = open, true
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var served error
	var serving sync.WaitGroup
	serving.Go(func() {
		// The session outlives ctx: the engine ends a solve by way of it.
		if served = open.Run(context.WithoutCancel(ctx), s.conn.Client.Dialer()); served != nil {
			stop(served)
		}
	})
	_, err = s.conn.Client.Solve(running, def, o, status)
	_ = open.Close() // never fails
	serving.Wait()
	if served != nil {
		return served
	}
	return err
}

// session offers the engine the step's inputs, its image where that lies in a folder
// here, its secrets, and a place for its outputs.
func (s *solve) session(ctx context.Context, o client.SolveOpt) (*session.Session, error) {
	open, err := session.NewSession(ctx, "")
	if err != nil {
		return nil, err
	}
	open.Allow(newSender(s.inputs))
	open.Allow(filesync.NewFSSyncTarget(filesync.WithFSSync(0, s.outputs.open)))
	if s.image.Layout != "" {
		open.Allow(sessioncontent.NewAttachable(map[string]content.Store{"oci:" + layoutStore: layout{dir: s.image.Layout}}))
	} else {
		open.Allow(credentials{})
	}
	if o.SourcePolicyProvider != nil {
		open.Allow(o.SourcePolicyProvider)
	}
	if len(s.job.Secrets) > 0 {
		values := map[string][]byte{}
		for _, secret := range s.job.Secrets {
			values[secret.Name] = secret.Value.Reveal()
		}
		open.Allow(secretsprovider.FromMap(values))
	}
	return open, nil
}

// sender is BuildKit's service that sends files, with requests that are taken from
// gRPC as they come. The engine asks for all files that it wants at once; BuildKit's
// sender reads on when it has sent some, and until then gRPC keeps 16 KB for every few
// bytes that were read, however many there are.
type sender struct{ filesync.FileSyncServer }

func newSender(files fsutil.FS) sender {
	provider := filesync.NewFSSyncProvider(filesync.StaticDirSource{compile.InputsName: files})
	return sender{provider.(filesync.FileSyncServer)} // which is what it registers
}

// Register adds the service to a session.
func (s sender) Register(server *grpc.Server) { filesync.RegisterFileSyncServer(server, s) }

// DiffCopy sends the files that the engine asks for.
func (s sender) DiffCopy(stream filesync.FileSync_DiffCopyServer) error {
	e := &eager{FileSync_DiffCopyServer: stream, more: make(chan struct{}, 1)}
	go e.receive() // until the stream ends, which is when this returns
	return s.FileSyncServer.DiffCopy(e)
}

// eager is a stream whose messages are received before somebody asks for them.
type eager struct {
	filesync.FileSync_DiffCopyServer
	more chan struct{} // holds a token when something was added

	mu      sync.Mutex
	waiting []request
	err     error // what ended it
}

// request is one message: the number of a file that is asked for, or another.
type request struct {
	id    uint32
	other *fstypes.Packet
}

func (e *eager) receive() {
	for {
		var p fstypes.Packet
		err := e.FileSync_DiffCopyServer.RecvMsg(&p)
		e.mu.Lock()
		switch {
		case err != nil:
			e.err = err
		case p.Type == fstypes.PACKET_REQ:
			e.waiting = append(e.waiting, request{id: p.ID})
		default:
			e.waiting = append(e.waiting, request{other: &p})
		}
		e.mu.Unlock()
		select {
		case e.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// RecvMsg implements [grpc.ServerStream] for one caller at a time.
func (e *eager) RecvMsg(m any) error {
	for {
		e.mu.Lock()
		if len(e.waiting) > 0 {
			next := e.waiting[0]
			e.waiting = e.waiting[1:]
			e.mu.Unlock()
			p := m.(*fstypes.Packet) // the service has no other
			p.Reset()
			if next.other != nil {
				p.Type, p.Stat, p.ID, p.Data = next.other.Type, next.other.Stat, next.other.ID, next.other.Data
			} else {
				p.Type, p.ID = fstypes.PACKET_REQ, next.id
			}
			return nil
		}
		err := e.err
		e.mu.Unlock()
		if err != nil {
			return err
		}
		<-e.more
	}
}
