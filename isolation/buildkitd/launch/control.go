// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// Protocol is the version of the questions and of [Status].
const Protocol = 1

// maxAnswer is more than any answer is long.
const maxAnswer = 64 << 10

// The questions: one byte, answered by one Status as JSON, after which the
// daemon closes the connection.
const (
	askStatus byte = '?'
	askStop   byte = '!'
)

// ask puts one question to a daemon.
func ask(ctx context.Context, socket string, question byte) (Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errAskTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return Status{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte{question}); err != nil {
		return Status{}, fmt.Errorf("asking the engine: %w", err)
	}
	var s Status
	if err := json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&s); err != nil {
		return Status{}, fmt.Errorf("reading the engine's answer: %w", err)
	}
	return s, nil
}

// Answer serves the questions that arrive on l until l is closed. status is
// called for each and reports false when the daemon is about to end, in which
// case the asker gets no answer and waits for the lock; stop is called, after
// the answer has been sent, when the daemon is told to end.
func Answer(l net.Listener, status func() (Status, bool), stop func()) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go answer(conn, status, stop)
	}
}

func answer(conn net.Conn, status func() (Status, bool), stop func()) {
	defer conn.Close()
	var question [1]byte
	if _, err := io.ReadFull(conn, question[:]); err != nil {
		return
	}
	s, ok := status()
	if !ok {
		return
	}
	if err := json.NewEncoder(conn).Encode(s); err != nil {
		return
	}
	if question[0] == askStop {
		stop()
	}
}
