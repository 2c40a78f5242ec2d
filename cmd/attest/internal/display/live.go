// SPDX-License-Identifier: Apache-2.0

package display

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/attest-pipeline/attest/isolation/event"
)

// live draws the steps that run now below the lines of those that finished. It
// reads no input, so the terminal stays in the mode it was in and Ctrl-C is a
// signal like any other.
type live struct {
	out     io.Writer
	style   palette
	now     func() time.Time
	program *tea.Program
	ended   chan struct{} // closed when the program gave the terminal back
	unhook  func() bool

	mu      sync.Mutex
	plain   bool // the view is gone: lines go straight to out
	started time.Time
	running []*liveStep
	tails   tails
	tally   tally
	frame   int
	width   int
	height  int
}

type liveStep struct {
	name    string
	started time.Time
	doing   string
}

// framesPerSecond is slow enough for a remote terminal and fast enough for a
// spinner.
const framesPerSecond = 10

func newLive(ctx context.Context, o Options) *live {
	l := &live{
		out: o.Out, style: newPalette(o.color()), now: o.Now, started: o.Now(),
		tails: tails{}, ended: make(chan struct{}), width: 80, height: 24,
	}
	l.program = tea.NewProgram(view{l}, tea.WithInput(nil), tea.WithOutput(o.Out),
		tea.WithEnvironment(o.Environ), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond))
	go func() {
		defer close(l.ended)
		_, _ = l.program.Run()
	}()
	l.unhook = context.AfterFunc(ctx, func() {
		l.leave()
		_, _ = fmt.Fprintln(l.out, "stopping the steps that run; again to stop at once")
	})
	return l
}

// Emit takes what happened into the view.
func (l *live) Emit(e event.Event) {
	if line := l.take(e); line != "" {
		l.above(line)
	}
}

// take changes the view's state and returns the line to leave above it.
func (l *live) take(e event.Event) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch b := e.Body.(type) {
	case event.RunStarted:
		l.tally.total = len(b.Steps)
	case event.StepStarted:
		l.running = append(l.running, &liveStep{name: b.Step, started: l.now()})
	case event.StepProgress:
		if s := l.step(b.Step); s != nil {
			s.doing = doing(b)
		}
	case event.StepLog:
		if b.Stream == event.LogStream { // asked for, so it stays
			var piece splitter
			lines := append(piece.lines(b.Data), piece.rest()...)
			return strings.TrimSuffix(l.style.log(b.Step, lines), "\n")
		}
		l.tails.add(b)
		if s := l.step(b.Step); s != nil {
			s.doing = ""
		}
	case event.StepFinished:
		l.running = slices.DeleteFunc(l.running, func(s *liveStep) bool { return s.name == b.Step })
		l.tails.finish(b)
		l.tally.add(b.Status)
		return strings.Join(append([]string{l.style.finished(b)}, l.style.findings(b)...), "\n")
	case event.Warning:
		return l.style.warning(b)
	case event.RunFinished:
		if l.tally.done() > 0 {
			return l.tally.summary(b.Duration)
		}
	}
	return ""
}

func (l *live) step(name string) *liveStep {
	for _, s := range l.running {
		if s.name == name {
			return s
		}
	}
	return nil
}

// above leaves a line above the view, or writes it where there is no view.
func (l *live) above(line string) {
	l.mu.Lock()
	plain := l.plain
	l.mu.Unlock()
	if plain {
		<-l.ended
		_, _ = io.WriteString(l.out, line+"\n")
		return
	}
	l.program.Send(tea.Println(line)())
}

// leave ends the view and waits until the terminal is as it was found.
func (l *live) leave() {
	l.mu.Lock()
	l.plain = true
	l.mu.Unlock()
	l.program.Quit()
	<-l.ended
}

// Close ends the view and writes the logs of the steps that failed.
func (l *live) Close() {
	l.unhook()
	l.leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tails.print(l.out, l.style)
}

// view is the part of live that the terminal library drives.
type view struct{ l *live }

type tick struct{}

func ticking() tea.Cmd {
	return tea.Tick(time.Second/framesPerSecond, func(time.Time) tea.Msg { return tick{} })
}

// Init starts the clock.
func (v view) Init() tea.Cmd { return ticking() }

// Update follows the clock and the size of the terminal.
func (v view) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		v.l.width, v.l.height = m.Width, m.Height
	case tick:
		v.l.frame++
		return v, ticking()
	}
	return v, nil
}

// View draws what runs; nothing once the view is to end.
func (v view) View() tea.View {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if v.l.plain {
		return tea.NewView("")
	}
	return tea.NewView(v.l.draw())
}

// draw returns the view: for every running step a line and the end of its log,
// as many as the terminal has room for, and a last line for the run.
func (l *live) draw() string {
	if len(l.running) == 0 {
		return ""
	}
	room := max(1, l.height-3)
	shown := l.running[:min(len(l.running), room)]
	logs := min(6, (room-len(shown))/len(shown))
	var lines []string
	for _, s := range shown {
		lines = append(lines, l.title(s))
		for _, text := range l.tails.of(s.name).last(logs) {
			lines = append(lines, l.style.dim.Render("  | "+text))
		}
	}
	state := fmt.Sprintf("%d/%d done, %d running, %s", l.tally.done(), l.tally.total,
		len(l.running), Duration(l.now().Sub(l.started)))
	lines = append(lines, l.style.dim.Render(state))
	cut := lipgloss.NewStyle().MaxWidth(max(1, l.width-1))
	for i, line := range lines {
		lines[i] = cut.Render(line)
	}
	return strings.Join(lines, "\n")
}

func (l *live) title(s *liveStep) string {
	const spinner = `|/-\`
	line := fmt.Sprintf("%s %s %s", l.style.ok.Render(string(spinner[l.frame%len(spinner)])), s.name,
		Duration(l.now().Sub(s.started)))
	if s.doing != "" {
		line += "  " + l.style.dim.Render(s.doing)
	}
	return line
}
