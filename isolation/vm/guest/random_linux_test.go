// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asks has a test program be one that asks for random bytes.
const asks = "ATTEST_TEST_ASKS"

// TestGetrandom: a program whose getrandom is answered gets what follows from the
// seed, and else what the kernel says to the same call.
func TestGetrandom(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("machines are x86-64")
	}
	if os.Getenv(asks) != "" {
		fmt.Println(ask(os.Getenv(asks) == "handed over"))
		os.Exit(0)
	}
	see := func(how, seed string) string {
		socket, err := answerRandom(seed)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestGetrandom$")
		cmd.Env = append(os.Environ(), asks+"="+how)
		cmd.ExtraFiles = []*os.File{socket, socket, socket} // to be found at seedFile
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, refused := range []unix.Errno{unix.EBUSY, unix.EPERM, unix.ENOSYS} { // who started the test listens, or forbids it
			if strings.HasPrefix(string(out), "taking over random numbers: "+refused.Error()) {
				t.Skip(string(out))
			}
		}
		return string(out)
	}
	first, again, other := see("handed over", "0"), see("handed over", "0"), see("handed over", "1")
	if !strings.Contains(first, "32 bytes") || first != again || first == other {
		t.Errorf("with the seed 0\n%s\nand again\n%s\nwith the seed 1\n%s", first, again, other)
	}
	values := regexp.MustCompile(`[0-9a-f]{64}`)
	if found := values.FindAllString(first, -1); len(found) != 2 || found[0] == found[1] {
		t.Errorf("one call after the other got %q", found)
	}
	kernels := see("left alone", "0")
	if diff := values.ReplaceAllString(first, "") != values.ReplaceAllString(kernels, ""); diff {
		t.Errorf("answered\n%s\nby the kernel\n%s", first, kernels)
	}
}

// ask makes calls of all kinds and says what came of them.
func ask(handedOver bool) string {
	runtime.LockOSThread()
	if handedOver {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err.Error()
		}
		if err := handOver(seedFile); err != nil {
			return err.Error()
		}
	}
	var said strings.Builder
	call := func(p []byte, address, size, flags uintptr) {
		if p != nil {
			address = uintptr(unsafe.Pointer(&p[0]))
		}
		n, _, errno := unix.Syscall(unix.SYS_GETRANDOM, address, size, flags)
		fmt.Fprintf(&said, "flags %d: %d bytes, %v\n", flags, int(n), errno)
	}
	p := make([]byte, 200_000)
	for range 2 {
		call(p, 0, 32, 0)
		fmt.Fprintln(&said, hex.EncodeToString(p[:32]))
	}
	clear(p)
	call(p, 0, uintptr(len(p)), 0)
	if bytes.Contains(p, make([]byte, 16)) {
		fmt.Fprintln(&said, "not all was filled")
	}
	for flags := range uintptr(10) {
		call(p, 0, 8, flags)
	}
	call(p, 0, 0, 0)
	call(nil, 1, 8, 0)
	pages, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err.Error()
	}
	if err := unix.Mprotect(pages[os.Getpagesize():], unix.PROT_READ); err != nil {
		return err.Error()
	}
	call(pages[os.Getpagesize():], 0, 8, 0) // read-only
	call(pages[os.Getpagesize()-6:], 0, 20, 0)
	return said.String()
}

// TestDevice: what the kernel asks of a device, as it does it.
func TestDevice(t *testing.T) {
	words := func(list ...uint32) []byte {
		var b []byte
		for _, w := range list {
			b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
		}
		return b
	}
	newDevice := func(uuid bool) *device {
		d := &device{name: "name", stream: newStream("0", "device"), handles: map[uint64][]byte{}}
		if uuid {
			d.open = newStream("0", "uuid").uuid
		}
		return d
	}
	ask := func(d *device, operation uint32, in ...uint32) []byte {
		t.Helper()
		out, errno := d.reply(operation, words(in...))
		if errno != 0 {
			t.Fatalf("operation %d: %v", operation, errno)
		}
		return out
	}
	d := newDevice(false)
	if out := ask(d, opCuseInit, 7, 36, 0, 0); len(out) != 72+len("DEVNAME=name\x00") || out[0] != 7 {
		t.Errorf("it begins with %q", out)
	}
	first := ask(d, opRead, 1, 0, 0, 0, 100)
	second := ask(d, opRead, 1, 0, 0, 0, 100)
	if len(first) != 100 || bytes.Equal(first, second) {
		t.Errorf("read %x and %x", first, second)
	}
	if again := ask(newDevice(false), opRead, 5, 0, 0, 0, 100); !bytes.Equal(first, again) {
		t.Errorf("from one seed came %x and %x", first, again)
	}
	if out := ask(d, opWrite, 1, 0, 0, 0, 3); !bytes.Equal(out, words(3, 0)) {
		t.Errorf("writing says %x", out)
	}
	if out := ask(d, opIoctl, 1, 0, 0, unix.RNDGETENTCNT); !bytes.Equal(out, words(0, 0, 0, 0, 256)) {
		t.Errorf("the entropy is %x", out)
	}

	u := newDevice(true)
	var text [2][]byte
	for i := range text {
		handle := uint32(ask(u, opOpen, 0, 0)[0])
		for n := 1; n > 0; { // as a shell reads
			b := ask(u, opRead, handle, 0, 0, 0, 1)
			text[i], n = append(text[i], b...), len(b)
		}
		ask(u, opRelease, handle, 0, 0, 0)
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`)
	if !uuid.Match(text[0]) || !uuid.Match(text[1]) || bytes.Equal(text[0], text[1]) || len(u.handles) != 0 {
		t.Errorf("read %q, %d open", text, len(u.handles))
	}
	for _, short := range []uint32{opRead, opWrite, opRelease, opIoctl} {
		if _, errno := d.reply(short, words(1)); errno == 0 {
			t.Errorf("operation %d that is cut off is done", short)
		}
	}
	if _, errno := d.reply(40, nil); errno != unix.ENOSYS {
		t.Errorf("an operation that there is not: %v", errno)
	}
}
