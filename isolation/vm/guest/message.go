// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Port is the name of the virtio port over which guest and host talk.
const Port = "attest.control"

// RootTag is the name under which the host shares the step's file system.
const RootTag = "root"

// Order is what the host tells the guest to do, once. It is the part of an OCI
// runtime's configuration that is carried out inside.
type Order struct {
	Args, Env []string
	Dir       string // absolute
	Rights    Rights
	Hostname  string
	// Mounts are file systems of the guest's own, in this order; what the host
	// mounts is already part of the shared tree.
	Mounts []Mount
	// Shared is where in the shared tree the host has mounted something.
	Shared []string
	// Files are files of the step that are in the machine's memory and nowhere in
	// the shared tree, read-only.
	Files []File
	// Masked paths show nothing, ReadonlyPaths cannot be written.
	Masked, ReadonlyPaths []string
	// Memory is how many bytes the step may use, PIDs how many processes and
	// threads it may have; 0 is no limit.
	Memory int64
	PIDs   int
	// Clock is the time in the guest when the command starts, in nanoseconds
	// since 1970.
	Clock int64
	// Seed is what the step's random numbers follow from; empty leaves them to the
	// kernel. With one, programs also find themselves at the same addresses.
	Seed string
	// Network has the guest bring up its network device, which the host made.
	Network bool
}

// Rights are whose the command is, and what it may.
type Rights struct {
	UID, GID int
	Groups   []int
	Umask    int
	// Bounding and the others are the capability sets, as bits.
	Bounding, Effective, Permitted, Inheritable, Ambient uint64
	NoNewPrivileges                                      bool
	Rlimits                                              []Rlimit
}

// Rlimit is one resource limit.
type Rlimit struct {
	Kind       int // RLIMIT_*
	Soft, Hard uint64
}

// Mount is one file system to mount.
type Mount struct {
	Type, Source, Target string
	Flags                uintptr
	Data                 string
}

// File is a file that the order itself brings.
type File struct {
	Path     string // absolute
	Content  []byte
	Mode     uint32 // its permission bits
	UID, GID int
}

// Kind says what a frame is.
type Kind byte

// The kinds of frames: an [Order] goes in, the others come out.
const (
	KindOrder  Kind = 'r'
	KindReady  Kind = 'b' // booted, waiting for the order
	KindRuns   Kind = 's' // the command was started
	KindStdout Kind = 'o'
	KindStderr Kind = 'e'
	// KindStarved says, before the end, that something of the step was killed for
	// want of memory.
	KindStarved Kind = 'k'
	// KindCrowded says, before the end, that the step was to have more processes than
	// its limit.
	KindCrowded Kind = 'p'
	KindExit    Kind = 'x' // one byte: the exit code; everything is on the disk
	KindNotRun  Kind = 'n' // one byte: the exit code of a shell in its place; then why
	KindFailed  Kind = 'f' // why the guest could not do its work
)

const (
	maxFrame  = 64 << 10 // of what comes out
	maxOrder  = 64 << 20 // more than the kernel takes as arguments and environment
	frameHead = 5
)

// WriteFrame writes one frame with one call of Write.
func WriteFrame(w io.Writer, kind Kind, payload []byte) error {
	b := make([]byte, frameHead, frameHead+len(payload))
	b[0] = byte(kind)
	binary.LittleEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// ReadFrame reads a frame that came out of a guest. It returns io.EOF where
// there is none, and refuses one that no guest of ours writes.
func ReadFrame(r io.Reader) (Kind, []byte, error) { return readFrame(r, maxFrame) }

func readFrame(r io.Reader, limit uint32) (Kind, []byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > limit {
		return 0, nil, fmt.Errorf("reading a frame: %d bytes are too many", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("reading a frame: %w", err)
	}
	return Kind(head[0]), payload, nil
}

// Write sends the order.
func (o Order) Write(w io.Writer) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding the order: %w", err)
	}
	return WriteFrame(w, KindOrder, text)
}

// readOrder reads what [Order.Write] sent.
func readOrder(r io.Reader) (Order, error) {
	kind, text, err := readFrame(r, maxOrder)
	if err != nil {
		return Order{}, fmt.Errorf("reading the order: %w", err)
	}
	if kind != KindOrder {
		return Order{}, fmt.Errorf("reading the order: a frame of kind %q came", byte(kind))
	}
	var o Order
	if err := json.Unmarshal(text, &o); err != nil {
		return Order{}, fmt.Errorf("reading the order: %w", err)
	}
	return o, nil
}
