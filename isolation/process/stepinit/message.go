// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Greeting is what a keeper says first, in one packet. Unless something was
// refused, a file comes with it from which the keeper's mounts can be read, in
// the form of /proc/self/mountinfo: every step has these, whatever becomes of
// the machine's.
type Greeting struct {
	Version string // what the keeper has as [Version]
	// Refused says which protection the kernel did not grant.
	Refused string
}

func (g Greeting) marshal() []byte { return appendStrings(nil, []string{g.Version, g.Refused}) }

// ParseGreeting reads a packet from a keeper.
func ParseGreeting(b []byte) (Greeting, bool) {
	p := &parser{rest: b}
	texts := p.strings()
	// Another version may go on with what it alone knows.
	if p.bad || len(texts) < 2 {
		return Greeting{}, false
	}
	return Greeting{texts[0], texts[1]}, true
}

// Request is what a keeper is asked for, one packet each. With [Start] come
// [Files] descriptors, the command's stdout and stderr and the init's connection,
// and up to [MoreFiles], which the init gets after these.
type Request struct {
	Kind RequestKind
	ID   uint64 // of the init; the asking end chooses it
	// Spaces are the namespaces that the init gets, as flags of clone.
	Spaces uint64
}

// RequestKind says what a [Request] asks for.
type RequestKind byte

// The kinds of requests.
const (
	Start RequestKind = 1 + iota
	Kill              // end an init that does not end by itself
)

// Files is how many descriptors come with a [Start] at least, MoreFiles how many
// may come besides.
const (
	Files     = 3
	MoreFiles = 8
)

const requestSize = 1 + 8 + 8

// Marshal returns the packet for r.
func (r Request) Marshal() []byte {
	b := append(make([]byte, 0, requestSize), byte(r.Kind))
	b = binary.LittleEndian.AppendUint64(b, r.ID)
	return binary.LittleEndian.AppendUint64(b, r.Spaces)
}

func parseRequest(b []byte) (Request, bool) {
	if len(b) != requestSize {
		return Request{}, false
	}
	return Request{RequestKind(b[0]), binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])}, true
}

// Order is what an init is told.
type Order struct {
	Argv, Env []string
	Dir       string
	Hide      []string
	// Spaces are the namespaces that the init is in, as flags of clone.
	Spaces uint64
	// View is what the step sees of the file system. It needs a keeper that was
	// started with [Closed].
	View   View
	Limits Limits
	// Watch are folders that mounts of the step stand at. Where there are any,
	// the init sends its mount namespace and those that it could open, in this
	// order and with one byte, and waits for one byte before it starts the
	// command.
	Watch []string
	// Lookups has the init send a descriptor, with one byte and after the above,
	// on which the kernel tells of the [Calls] of the command and of all that it
	// starts: see seccomp_unotify(2). Each of these calls waits for an answer.
	Lookups Lookups
	// Files are mounted for the step, from memory. They need a View.
	Files []File
	World World
	// AliasDir takes the place of Dir where View.Alias could be mounted.
	AliasDir string
	// Writable are the folders that a step without a View may write to, where the
	// kernel can see to that; nil for no such limit.
	Writable []string

	lastPID int // the file that has it, in an init; 0 for none
}

// World is what of the step's surroundings is not as usual.
type World struct {
	Hostname string // empty for the machine's
	Umask    uint64 // 0 for the usual one
	LastPID  uint64 // what the numbers of processes begin after; 0 for what comes
}

func (w World) strings() []string {
	return []string{w.Hostname, strconv.FormatUint(w.Umask, 8), strconv.FormatUint(w.LastPID, 10)}
}

func parseWorld(list []string) (w World, ok bool) {
	const fixed = 3
	if len(list) != fixed {
		return World{}, false
	}
	umask, err := strconv.ParseUint(list[1], 8, 9)
	last, err2 := strconv.ParseUint(list[2], 10, 22)
	return World{list[0], umask, last}, err == nil && err2 == nil
}

// File is one that the step's user can read, and nobody can write to.
type File struct {
	Path    string // absolute and clean
	Content []byte
	Public  bool // others may read it too
}

func fileStrings(files []File) []string {
	var list []string
	for _, f := range files {
		public := ""
		if f.Public {
			public = "p"
		}
		list = append(list, f.Path, string(f.Content), public)
	}
	return list
}

func parseFiles(list []string) (files []File, ok bool) {
	const each = 3
	if len(list)%each != 0 {
		return nil, false
	}
	for i := 0; i < len(list); i += each {
		files = append(files, File{list[i], []byte(list[i+1]), list[i+2] != ""})
	}
	return files, true
}

// Lookups says of which calls the kernel is to tell.
type Lookups byte

// LookupsOpens are those that open files for reading or execute them, where that
// can be had; LookupsAll are all of them, or the command does not run.
const (
	LookupsNone Lookups = iota
	LookupsOpens
	LookupsAll
)

// MostWatched is how many folders fit into one message.
const MostWatched = 250

// Limits are what the kernel keeps a step to. Zero fields do not limit.
type Limits struct {
	// Memory is how many bytes a process may write to, PIDs how many processes
	// the step's user may have in all steps of the keeper: the former for each
	// process, and neither for what a control group limits.
	Memory, PIDs uint64
	FileSize     uint64 // bytes
	// CPUs are the processors that the step runs on; nil for all.
	CPUs []int
	// Groups says, for each descriptor that came with the init's own, what kind
	// of control group it stands for.
	Groups []GroupKind
}

// GroupKind is a kind of control group, and of the descriptor for it.
type GroupKind byte

// The kinds of control groups.
const (
	GroupTasks  GroupKind = 't' // the file "tasks" of one of version 1, open for writing
	GroupFolder GroupKind = 'f' // the folder of one of version 2
)

// maxOrder is more than the kernel takes as arguments and environment.
const maxOrder = 64 << 20

// Marshal returns the bytes that an init reads, their number before them.
func (o Order) Marshal() []byte {
	b := make([]byte, 4, 4096)
	for _, list := range [][]string{o.Argv, o.Env, {o.Dir}, o.Hide, o.View.strings(), o.Watch, fileStrings(o.Files), o.World.strings(), {o.AliasDir}, o.Writable} {
		b = appendStrings(b, list)
	}
	b = binary.AppendUvarint(b, o.Spaces)
	b = append(b, byte(o.Lookups))
	b = o.Limits.append(b)
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (l Limits) append(b []byte) []byte {
	for _, n := range []uint64{l.Memory, l.PIDs, l.FileSize, uint64(len(l.CPUs))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, cpu := range l.CPUs {
		b = binary.AppendUvarint(b, uint64(cpu))
	}
	groups := make([]string, len(l.Groups))
	for i, kind := range l.Groups {
		groups[i] = string(rune(kind))
	}
	return appendStrings(b, groups)
}

func (p *parser) limits() Limits {
	l := Limits{Memory: p.number(), PIDs: p.number(), FileSize: p.number()}
	for range p.number() {
		cpu := p.number()
		if p.bad {
			return Limits{}
		}
		l.CPUs = append(l.CPUs, int(cpu))
	}
	for _, kind := range p.strings() {
		if len(kind) != 1 || GroupKind(kind[0]) != GroupTasks && GroupKind(kind[0]) != GroupFolder {
			p.bad = true
			return Limits{}
		}
		l.Groups = append(l.Groups, GroupKind(kind[0]))
	}
	return l
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// ReadOrder reads what [Order.Marshal] returned.
func ReadOrder(r io.Reader) (Order, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return Order{}, fmt.Errorf("reading an order: %w", err)
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxOrder {
		return Order{}, fmt.Errorf("reading an order: %d bytes are too many", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return Order{}, fmt.Errorf("reading an order: %w", err)
	}
	p := &parser{rest: b}
	o := Order{Argv: p.strings(), Env: p.strings()}
	if dir := p.strings(); len(dir) == 1 {
		o.Dir = dir[0]
	} else {
		p.bad = true
	}
	var viewOK, filesOK, worldOK bool
	o.Hide = p.strings()
	o.View, viewOK = parseView(p.strings())
	o.Watch = p.strings()
	o.Files, filesOK = parseFiles(p.strings())
	o.World, worldOK = parseWorld(p.strings())
	if dir := p.strings(); len(dir) == 1 {
		o.AliasDir = dir[0]
	} else {
		p.bad = true
	}
	o.Writable = p.strings()
	o.Spaces, o.Lookups, o.Limits = p.number(), p.lookups(), p.limits()
	if !viewOK || !filesOK || !worldOK || p.bad || len(p.rest) > 0 {
		return Order{}, errors.New("reading an order: it is damaged")
	}
	return o, nil
}

// Report is what an init says in the end, or its keeper where there is none.
type Report struct {
	// Refused says which protection the kernel did not grant; nothing ran.
	Refused string
	// NotRun says why the command could not be started.
	NotRun   string
	Code     int
	Duration time.Duration
	// Controls are the protections that the init saw to, beside the namespaces
	// that it was asked for.
	Controls []string
}

// Marshal returns the bytes of r.
func (r Report) Marshal() []byte {
	b := appendStrings(nil, append([]string{r.Refused, r.NotRun}, r.Controls...))
	b = binary.AppendUvarint(b, uint64(r.Code))
	return binary.AppendUvarint(b, uint64(r.Duration))
}

// ParseReport reads what [Report.Marshal] returned. There is no report where an
// init was ended before it could make one.
func ParseReport(b []byte) (Report, bool) {
	p := &parser{rest: b}
	texts := p.strings()
	code, duration := p.number(), p.number()
	const fixed = 2
	if p.bad || len(texts) < fixed || len(p.rest) > 0 {
		return Report{}, false
	}
	r := Report{Refused: texts[0], NotRun: texts[1], Code: int(code), Duration: time.Duration(duration)}
	if len(texts) > fixed {
		r.Controls = texts[fixed:]
	}
	return r, true
}

// parser takes values off the front of rest. It is bad from the first one on
// that is not there.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) number() uint64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 {
		p.bad = true
		return 0
	}
	p.rest = p.rest[size:]
	return n
}

func (p *parser) lookups() Lookups {
	n := p.number()
	p.bad = p.bad || n > uint64(LookupsAll)
	return Lookups(n)
}

func (p *parser) strings() []string {
	var list []string
	for range p.number() {
		n := p.number()
		if p.bad || n > uint64(len(p.rest)) {
			p.bad = true
			return nil
		}
		list = append(list, string(p.rest[:n]))
		p.rest = p.rest[n:]
	}
	return list
}
