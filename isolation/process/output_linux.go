// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/attest-pipeline/attest/isolation/executor"
)

var errHeldOpen = errors.New("the command's output is held open by a process outside of the step")

// output takes a command's stdout and stderr to where they are to go.
type output struct {
	files   [2]*os.File // what the command writes to
	ours    []*os.File  // those of them to be closed here once the command has them
	readers []*os.File
	copied  chan error // one for each reader
}

func newOutput(streams executor.Streams) (*output, error) {
	o := &output{copied: make(chan error, 2)}
	var err error
	if o.files[0], err = o.file(streams.Stdout); err != nil {
		return nil, err
	}
	// One writer takes no concurrent calls, whichever stream they are for.
	if streams.Stderr != nil && same(streams.Stdout, streams.Stderr) {
		o.files[1] = o.files[0]
	} else if o.files[1], err = o.file(streams.Stderr); err != nil {
		closeAll(append(o.ours, o.readers...))
		return nil, err
	}
	return o, nil
}

func same(a, b io.Writer) bool {
	defer func() { _ = recover() }() // values that cannot be compared are not the same
	return a == b
}

// file returns a file that ends in w.
func (o *output) file(w io.Writer) (*os.File, error) {
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	if w == nil {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err == nil {
			o.ours = append(o.ours, f)
		}
		return f, err
	}
	r, f, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.ours, o.readers = append(o.ours, f), append(o.readers, r)
	go func() {
		_, err := io.Copy(w, r)
		if err != nil {
			_ = r.Close() // a command that goes on writing learns of it
		}
		o.copied <- err
	}()
	return f, nil
}

// started is to be called when the command has its files, or never gets them.
func (o *output) started() { closeAll(o.ours) }

// wait waits until everything that was written has arrived. The step being over,
// that takes as long as the limit only where another process was handed a file
// of it.
func (o *output) wait(limit time.Duration) error {
	var err error
	late := time.AfterFunc(limit, func() { closeAll(o.readers) })
	for range o.readers {
		if copyErr := <-o.copied; err == nil {
			err = copyErr
		}
	}
	closeAll(o.readers)
	if !late.Stop() {
		return errHeldOpen
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
