// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/notify"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// lookups is what a step looks for, found or not, as the step itself names it: the
// kernel tells of each system call before it is made (seccomp_unotify(2)), and
// waits until it was looked whether there is such a file. That is what fanotify
// cannot tell, which tells of files that were opened.
//
// It watches and decides nothing. A step that wants to deceive it can: what its
// memory says may change before the kernel reads it. So nothing may be allowed on
// the strength of it.
type lookups struct {
	project string
	calls   map[stepinit.CallKey]stepinit.Call

	listener notify.Listener
	root     int           // the step's root folder; -1 before the first call
	stop     [2]int        // a pipe; the reader ends when it is closed
	done     chan struct{} // closed when the reader has ended; nil where there is none
	finished bool

	// search are the folders of the step's PATH, and sought says of the programs
	// that were looked for there in which of them there was one.
	search []string
	sought map[string]map[string]bool

	// outside are folders from which names were seen to lead past the project. The
	// most opened ones are those of caches and toolchains.
	outside map[string]bool

	found  map[string]uses // what is there, by absolute path in the step
	absent map[string]bool // what was not, when it was looked for
	made   map[string]bool // what the step made or meant to make
	unseen map[string]bool // why something may have escaped
}

// uses are the ways in which a step used a file.
type uses byte

const (
	useLooked uses = 1 << iota // asked whether it is there, and of which kind
	useOpened                  // opened for reading
	useExecuted
	useListed // a folder that was opened
	useLink   // a symbolic link that was followed, or read
)

// newLookups returns what a trace of lookups is kept in, for a step with this
// environment.
func newLookups(project string, environ []string) (*lookups, error) {
	l := &lookups{
		sought: map[string]map[string]bool{}, outside: map[string]bool{},
		project: project, calls: stepinit.Calls(), listener: -1, root: -1,
		found: map[string]uses{}, absent: map[string]bool{}, made: map[string]bool{}, unseen: map[string]bool{},
	}
	for _, v := range environ {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, dir := range strings.Split(list, ":") {
				if path.IsAbs(dir) {
					l.search = append(l.search, path.Clean(dir))
				}
			}
		}
	}
	if err := unix.Pipe2(l.stop[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("preparing to trace: %w", err)
	}
	return l, nil
}

// listen begins to hear from a listener of seccomp, which is l's from then on.
func (l *lookups) listen(fd int) {
	l.listener, l.done = notify.Listener(fd), make(chan struct{})
	l.listener.WakeAtOnce()
	go l.read()
}

// finish gives everything back, once nothing of the step is alive any more, and
// reports whether the step was heard at all. Of nothing, nothing was.
func (l *lookups) finish() bool {
	if l == nil {
		return false
	}
	if l.finished {
		return l.done != nil
	}
	l.finished = true
	_ = unix.Close(l.stop[1])
	if l.done != nil {
		<-l.done
	}
	for _, fd := range []int{l.stop[0], int(l.listener), l.root} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	return l.done != nil
}

// read answers every call until it is told to stop.
func (l *lookups) read() {
	defer close(l.done)
	fds := []unix.PollFd{{Fd: int32(l.listener), Events: unix.POLLIN}, {Fd: int32(l.stop[0]), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			l.unseen["the trace broke off: "+err.Error()] = true
			return
		}
		if fds[0].Revents&unix.POLLIN != 0 {
			l.one()
			continue
		}
		if fds[0].Revents != 0 || fds[1].Revents != 0 {
			return // nobody is left to be heard
		}
	}
}

// one hears one call and lets it go on.
func (l *lookups) one() {
	// It does not block: there is one, unless its caller was killed meanwhile.
	n, err := l.listener.Next()
	if err != nil {
		return
	}
	l.take(n)
	_ = l.listener.Continue(n)
}

// take takes note of a call.
func (l *lookups) take(n notify.Call) {
	call, ok := l.calls[stepinit.CallKey{Arch: n.Arch, Number: uint32(n.Number)}]
	switch {
	case !ok:
		l.unseen["a program made system calls of another architecture"] = true
		return
	case call.Kind == stepinit.CallUnseen:
		l.unseen["a program used io_uring, which opens files in ways of its own"] = true
		return
	case call.Kind == stepinit.CallRoot:
		l.unseen["a program gave itself another root folder"] = true
		return
	}
	name, ok := l.name(n, call)
	if !ok {
		return
	}
	if l.root < 0 {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", n.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			l.unseen["the step's files could not be looked at: "+err.Error()] = true
			return
		}
		l.root = fd
	}
	flags, ok := flagsOf(n, call)
	if !ok {
		return
	}
	l.note(call, flags, name)
}

// name returns the name in a call, made absolute, and nothing where the call has
// none, or is about what the kernel shows of itself.
func (l *lookups) name(n notify.Call, call stepinit.Call) (string, bool) {
	name, err := readString(n.PID, uintptr(n.Args[call.Path]))
	if err != nil || name == "" {
		return "", false // the call itself comes to no more
	}
	if !path.IsAbs(name) {
		at := "cwd"
		if call.Dir >= 0 && int32(n.Args[call.Dir]) != unix.AT_FDCWD {
			at = fmt.Sprintf("fd/%d", int32(n.Args[call.Dir]))
		}
		var buffer [unix.PathMax]byte
		size, err := unix.Readlink(fmt.Sprintf("/proc/%d/%s", n.PID, at), buffer[:])
		if err != nil || size == 0 || buffer[0] != '/' {
			return "", false // not a folder
		}
		name = strings.TrimSuffix(string(buffer[:size]), " (deleted)") + "/" + name
	}
	for _, dir := range []string{"/proc/", "/sys/", "/dev/"} {
		if strings.HasPrefix(name, dir) {
			return "", false
		}
	}
	return name, true
}

// flagsOf returns what the call says with its flags.
func flagsOf(n notify.Call, call stepinit.Call) (uint64, bool) {
	switch {
	case call.Flags < 0:
		return 0, true
	case !call.How:
		return n.Args[call.Flags], true
	}
	var flags [8]byte
	if err := readMemory(n.PID, uintptr(n.Args[call.Flags]), flags[:]); err != nil {
		return 0, false
	}
	return *(*uint64)(unsafe.Pointer(&flags)), true
}

// note takes note of what a call wants of a name.
func (l *lookups) note(call stepinit.Call, flags uint64, name string) {
	follow, use := true, useLooked
	switch call.Kind {
	case stepinit.CallMake, stepinit.CallCreate:
		l.made[path.Clean(l.walk(name, false).path)] = true
		return
	case stepinit.CallOpen:
		follow = flags&unix.O_NOFOLLOW == 0
		switch {
		case flags&unix.O_PATH != 0:
		case flags&unix.O_ACCMODE == unix.O_WRONLY:
			use = 0
		default:
			use = useOpened
		}
	case stepinit.CallLook:
		follow = !call.NoFollow && flags&unix.AT_SYMLINK_NOFOLLOW == 0
	case stepinit.CallExec:
		use = useExecuted
	}
	clean := path.Clean(name)
	dir := path.Dir(clean)
	if use != useExecuted && l.outside[dir] {
		return
	}
	w := l.walk(name, follow || strings.HasSuffix(name, "/"))
	if slices.Contains(l.search, dir) {
		l.seek(path.Base(clean), dir, w.absent)
	} else if w.leadsPast(l.project) && !strings.Contains(name, "/..") {
		l.outside[dir] = true
	}
	for _, link := range w.links {
		l.use(link, useLink)
	}
	_, inside := below(w.path, l.project)
	switch {
	case !inside && use != useExecuted:
	case w.absent && call.Kind == stepinit.CallOpen && flags&unix.O_CREAT != 0:
		l.made[w.path] = true
	case w.absent:
		l.absent[w.path] = true
	case w.mode == unix.S_IFDIR && use == useOpened:
		l.use(w.path, useListed)
	case w.mode == unix.S_IFLNK:
		l.use(w.path, useLink)
	case w.mode == unix.S_IFREG && use != 0:
		l.use(w.path, use)
	}
}

// use notes that a file was used, which is of interest in the project, and
// anywhere where it was executed.
func (l *lookups) use(p string, how uses) {
	if _, inside := below(p, l.project); inside || how == useExecuted {
		l.found[p] |= how
	}
}

// seek notes that a program was looked for in a folder of PATH.
func (l *lookups) seek(program, dir string, absent bool) {
	if l.sought[program] == nil {
		l.sought[program] = map[string]bool{}
	}
	l.sought[program][dir] = l.sought[program][dir] || !absent
}
