// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/vm"
	"github.com/attest-pipeline/attest/llb/compile"
)

// Parts of a step, told apart by the names that package compile gives them.
const (
	otherPart = iota
	imagePart
	runPart
)

// watch follows a solve: it hands on the command's output, says what is done
// besides, and notes when the command began and ended.
type watch struct {
	stdout, stderr io.Writer
	report         *reporter
	image          string
	runName        string
	imagePrefix    string
	machine        bool // the command begins when its machine has booted
	// started is called when the command begins; what it returns, when it ends.
	started func() (ended func())
	told    func(status string) // takes what else the engine says of the command

	parts  map[digest.Digest]int
	layers map[string]*client.VertexStatus
	failed int    // the part that failed first
	said   []byte // the beginning of what the command printed on stderr
	spoke  bool   // it printed something on stdout

	mu         sync.Mutex
	begin, end *time.Time
	facts      *vm.Facts // nil before a machine has booted
	limits     []string  // that the command ran into
}

func newWatch(job executor.Job, streams executor.Streams, report *reporter, machine bool) *watch {
	step := compile.Step{Name: job.Step}
	w := &watch{
		stdout: streams.Stdout, stderr: streams.Stderr, report: report, image: job.Image,
		runName: step.RunName(), imagePrefix: step.ImageName(), machine: machine, told: func(string) {},
		parts: map[digest.Digest]int{}, layers: map[string]*client.VertexStatus{},
	}
	if w.stdout == nil {
		w.stdout = io.Discard
	}
	if w.stderr == nil {
		w.stderr = io.Discard
	}
	return w
}

// follow reads until the channel is closed.
func (w *watch) follow(status <-chan *client.SolveStatus) {
	ended := func() {}
	for s := range status {
		for _, v := range s.Vertexes {
			w.vertex(v, &ended)
		}
		for _, l := range s.Statuses {
			w.layer(l)
			w.booted(l, &ended)
			if w.parts[l.Vertex] != runPart {
				continue
			}
			if limit, ok := strings.CutPrefix(l.ID, launch.LimitMet); ok {
				w.limits = append(w.limits, limit)
			}
			w.told(l.ID)
		}
		for _, l := range s.Logs {
			w.log(l)
		}
	}
	ended()
}

// vertex notes what is known of an operation. Each is told of many times.
func (w *watch) vertex(v *client.Vertex, ended *func()) {
	part := otherPart
	switch {
	case v.Name == w.runName:
		part = runPart
	case strings.HasPrefix(v.Name, w.imagePrefix):
		part = imagePart
	}
	w.parts[v.Digest] = part
	if v.Error != "" && w.failed == otherPart {
		w.failed = part
	}
	if part != runPart || v.Started == nil {
		return
	}
	if w.machine {
		w.machineVertex(v, *ended)
		return
	}
	w.mu.Lock()
	// It begins anew when the image's layers had to be fetched for it.
	again := w.begin == nil || !w.begin.Equal(*v.Started)
	w.begin, w.end = v.Started, v.Completed
	w.mu.Unlock()
	if again {
		(*ended)()
		w.report.send(executor.Progress{Doing: executor.Running})
		*ended = w.started()
	}
	if v.Completed != nil {
		(*ended)()
	}
}

// machineVertex is vertex for the command of a virtual machine.
func (w *watch) machineVertex(v *client.Vertex, ended func()) {
	if v.Completed == nil {
		w.report.send(executor.Progress{Doing: "booting a virtual machine"})
		return
	}
	w.mu.Lock()
	w.end = v.Completed
	w.mu.Unlock()
	ended()
}

// booted notes that the command of a virtual machine begins.
func (w *watch) booted(s *client.VertexStatus, ended *func()) {
	facts, ok := vm.ParseFacts(s.ID)
	if !ok || !w.machine || w.parts[s.Vertex] != runPart || s.Started == nil {
		return
	}
	w.mu.Lock()
	again := w.facts == nil
	w.begin, w.facts = s.Started, &facts
	w.mu.Unlock()
	if again {
		w.report.send(executor.Progress{Doing: executor.Running})
		*ended = w.started()
	}
}

// machineFacts returns what the engine said of the machine that the command
// ran in; ok is false where there was none. Call it after follow.
func (w *watch) machineFacts() (facts vm.Facts, ok bool) {
	if w.facts == nil {
		return vm.Facts{}, false
	}
	return *w.facts, true
}

// met names the limits that the command ran into, each once. Call it after follow.
func (w *watch) met() []string {
	slices.Sort(w.limits)
	return slices.Compact(w.limits)
}

// layer adds up what is known of the image's layers.
func (w *watch) layer(s *client.VertexStatus) {
	if w.parts[s.Vertex] != imagePart || s.Total == 0 {
		return
	}
	w.layers[s.ID] = s
	p := executor.Progress{Doing: "pulling " + w.image, Unit: "bytes"}
	for _, l := range w.layers {
		p.Current += l.Current
		p.Total += l.Total
	}
	w.report.send(p)
}

const stderrStream = 2

// log hands on what the command printed. A writer that fails does not stop the
// command; who gave it notices.
func (w *watch) log(l *client.VertexLog) {
	if w.parts[l.Vertex] != runPart {
		return
	}
	if l.Stream == stderrStream {
		w.said = append(w.said, l.Data[:min(len(l.Data), maxSaid-len(w.said))]...)
		_, _ = w.stderr.Write(l.Data)
		return
	}
	w.spoke = true
	_, _ = w.stdout.Write(l.Data)
}

// maxSaid is more than an OCI runtime's complaint is long.
const maxSaid = 4096

// notStarted returns the exit code that a shell would give where an OCI runtime
// could not start the command, 0 where it did start. Runtimes exit with 1 then,
// as commands do, and only what they print tells: one line, their own. A
// command that prints this line and exits with 1 failed in any case.
func (w *watch) notStarted() int {
	line, rest, _ := bytes.Cut(w.said, []byte("\n"))
	runtime := false
	for _, start := range []string{"runc run failed: ", "crun: ", "exec "} {
		runtime = runtime || bytes.HasPrefix(line, []byte(start))
	}
	switch text := bytes.ToLower(line); {
	case !runtime || w.spoke || len(rest) > 0:
		return 0
	case bytes.Contains(text, []byte("not found")), bytes.Contains(text, []byte("no such file")):
		return exitNotFound
	default:
		return exitNotExecutable
	}
}

// Exit codes of a command that was not started (POSIX, Shell Command Language,
// 2.8.2).
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// duration returns how long the command ran, until now where it did not end.
func (w *watch) duration() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.begin == nil:
		return 0
	case w.end == nil:
		return time.Since(*w.begin)
	}
	return w.end.Sub(*w.begin)
}

// failedPart returns which part of the step failed. Call it after follow.
func (w *watch) failedPart() int { return w.failed }

// reporter hands on progress, one report at a time and no more than a few each
// second of what keeps counting.
type reporter struct {
	to    func(executor.Progress)
	mu    sync.Mutex
	doing string
	next  time.Time
}

const reportEvery = 100 * time.Millisecond

func newReporter(to func(executor.Progress)) *reporter { return &reporter{to: to} }

func (r *reporter) send(p executor.Progress) {
	if r.to == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if p.Doing == r.doing && now.Before(r.next) && (p.Total == 0 || p.Current < p.Total) {
		return
	}
	r.doing, r.next = p.Doing, now.Add(reportEvery)
	r.to(p)
}
