// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/worker/base"
	"github.com/tonistiigi/fsutil"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// exporting is BuildKit's worker with an exporter of tar files that can pick what it
// sends, see [launch.OutputsAttribute].
type exporting struct{ *base.Worker }

// Exporter implements worker.Worker.
func (w exporting) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	if err != nil || name != client.ExporterTar {
		return e, err
	}
	return tarExporter{e, sessions}, nil
}

type tarExporter struct {
	exporter.Exporter
	sessions *session.Manager
}

// Resolve implements [exporter.Exporter].
func (e tarExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	inner, err := e.Exporter.Resolve(ctx, id, attrs)
	text, ok := attrs[launch.OutputsAttribute]
	if err != nil || !ok {
		return inner, err
	}
	o := outputsExport{ExporterInstance: inner, sessions: e.sessions}
	if err := json.Unmarshal([]byte(text), &o.filter); err != nil {
		return nil, fmt.Errorf("reading %s: %w", launch.OutputsAttribute, err)
	}
	return o, nil
}

// outputsExport sends files of a workspace.
type outputsExport struct {
	exporter.ExporterInstance
	sessions *session.Manager
	filter   launch.OutputFilter
}

const (
	// sessionTime is how long the client that is to receive the files may take to
	// be there, as with BuildKit's own exporters.
	sessionTime = 5 * time.Second
	// messageSize is that of the messages in which an archive is sent. Unbuffered,
	// each file would be three.
	messageSize = 256 << 10
)

var errNoWorkspace = errors.New("exporting outputs: there is no workspace, or more than one")

// Export implements [exporter.ExporterInstance].
func (o outputsExport) Export(ctx context.Context, src *exporter.Source, about exporter.ExportBuildInfo) (
	map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error,
) {
	if src.Ref == nil || len(src.Refs) > 0 || len(src.Attestations) > 0 {
		return nil, nil, nil, errNoWorkspace
	}
	workspace, err := src.Ref.Mount(ctx, true, session.NewGroup(about.SessionID))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("exporting outputs: %w", err)
	}
	mounter := snapshot.LocalMounter(workspace)
	dir, err := mounter.Mount()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("exporting outputs: %w", err)
	}
	err = o.send(ctx, dir, about.SessionID)
	return nil, nil, nil, errors.Join(err, mounter.Unmount())
}

func (o outputsExport) send(ctx context.Context, dir, sessionID string) error {
	all, err := fsutil.NewFS(dir)
	if err != nil {
		return err
	}
	files, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{IncludePatterns: o.filter.Include, ExcludePatterns: o.filter.Exclude})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, sessionTime, context.DeadlineExceeded)
	defer cancel()
	caller, err := o.sessions.Get(waiting, sessionID, false)
	if err != nil {
		return err
	}
	w, err := filesync.CopyFileWriter(ctx, nil, o.ID(), caller)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, messageSize)
	// A hard link to a file that is not sent is sent as a file.
	err = fsutil.WriteTar(ctx, fsutil.WithHardlinkReset(files), buffered)
	return errors.Join(err, buffered.Flush(), w.Close())
}
