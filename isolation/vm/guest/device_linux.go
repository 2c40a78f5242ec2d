// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The devices that stand for the kernel's random numbers in a machine with a seed,
// by their names in /dev.
const (
	randomDevice = "attest-random" // for /dev/random and /dev/urandom
	uuidDevice   = "attest-uuid"   // for /proc/sys/kernel/random/uuid
)

// Files of the kernel's random numbers in /proc.
const (
	uuidFile   = "/proc/sys/kernel/random/uuid"
	bootIDFile = "/proc/sys/kernel/random/boot_id"
)

// device is a character device that this program is behind (CUSE: linux/fuse.h, and
// fs/fuse/cuse.c in Linux). One goroutine serves it.
type device struct {
	fd   int
	name string
	// open returns what one who opens it reads, and then the end; nil is stream
	// without an end.
	open   func() []byte
	stream *stream

	handles map[uint64][]byte // what is left to read, where there is an end
	next    uint64
}

// serveDevices makes the devices of a machine with a seed.
func serveDevices(seed string) error {
	uuids := newStream(seed, "uuid")
	for _, d := range []*device{
		{name: randomDevice, stream: newStream(seed, "device")},
		{name: uuidDevice, open: uuids.uuid},
	} {
		if err := d.start(); err != nil {
			return fmt.Errorf("making the device %s: %w", d.name, err)
		}
	}
	return nil
}

// start makes the device and returns when it is there.
func (d *device) start() error {
	var err error
	if d.fd, err = unix.Open("/dev/cuse", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	d.handles = map[uint64][]byte{}
	go d.serve()
	path := "/dev/" + d.name
	for end := time.Now().Add(deviceWait); ; time.Sleep(time.Millisecond) {
		err := os.Chmod(path, 0o666)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if time.Now().After(end) {
			return errors.New("the kernel does not make it")
		}
	}
}

// Sizes of the protocol's structures.
const (
	inHeader, outHeader = 40, 16
	maxRead             = 128 << 10
	requestSize         = inHeader + 1<<12 + maxRead
)

// Operations of the protocol.
const (
	opOpen, opRead, opWrite, opRelease, opInterrupt, opIoctl, opCuseInit = 14, 15, 16, 18, 36, 39, 4096
)

// serve answers requests for as long as the machine lasts.
func (d *device) serve() {
	buf := make([]byte, requestSize)
	for {
		n, err := unix.Read(d.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return
		case n < inHeader:
			continue
		}
		operation, unique := binary.LittleEndian.Uint32(buf[4:]), binary.LittleEndian.Uint64(buf[8:])
		if operation == opInterrupt {
			continue // nothing here takes long
		}
		body, errno := d.reply(operation, buf[inHeader:n])
		out := make([]byte, outHeader, outHeader+len(body))
		binary.LittleEndian.PutUint32(out, uint32(outHeader+len(body)))
		binary.LittleEndian.PutUint32(out[4:], uint32(-int32(errno)))
		binary.LittleEndian.PutUint64(out[8:], unique)
		_, _ = unix.Write(d.fd, append(out, body...)) // who asked may have ended
	}
}

// reply does what one request asks for.
func (d *device) reply(operation uint32, in []byte) ([]byte, unix.Errno) {
	le := binary.LittleEndian
	if need := map[uint32]int{opRead: 20, opWrite: 20, opRelease: 8, opIoctl: 16}[operation]; len(in) < need {
		return nil, unix.EIO
	}
	switch operation {
	case opCuseInit:
		const major, minor = 7, 31
		out := make([]byte, 72) // struct cuse_init_out
		le.PutUint32(out, major)
		le.PutUint32(out[4:], minor)
		le.PutUint32(out[16:], maxRead)
		le.PutUint32(out[20:], maxRead)
		return append(out, "DEVNAME="+d.name+"\x00"...), 0
	case opOpen:
		d.next++
		if d.open != nil {
			d.handles[d.next] = d.open()
		}
		out := make([]byte, 16) // struct fuse_open_out
		le.PutUint64(out, d.next)
		return out, 0
	case opRead: // struct fuse_read_in: handle, offset, size
		return d.read(le.Uint64(in), min(int(le.Uint32(in[16:])), maxRead)), 0
	case opWrite: // it is good for nothing, and allowed
		if d.open != nil {
			return nil, unix.EACCES
		}
		out := make([]byte, 8) // struct fuse_write_out
		le.PutUint32(out, le.Uint32(in[16:]))
		return out, 0
	case opRelease:
		delete(d.handles, le.Uint64(in))
		return nil, 0
	case opIoctl: // struct fuse_ioctl_in: handle, flags, command
		const bits = 256
		if d.open != nil || le.Uint32(in[12:]) != unix.RNDGETENTCNT {
			return nil, unix.ENOTTY
		}
		return le.AppendUint32(make([]byte, 16), bits), 0 // struct fuse_ioctl_out
	default:
		return nil, unix.ENOSYS
	}
}

func (d *device) read(handle uint64, size int) []byte {
	if d.open == nil {
		out := make([]byte, size)
		_, _ = d.stream.Read(out)
		return out
	}
	left := d.handles[handle]
	n := min(size, len(left))
	d.handles[handle] = left[n:]
	return left[:n]
}
