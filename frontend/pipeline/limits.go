// SPDX-License-Identifier: Apache-2.0

package pipeline

// Bounds on limits: no step works with less, no machine has more.
const (
	minMemory = 4 << 20
	maxCPUs   = 4096
	maxPIDs   = 4 << 20
)

var limitKeys = []key[Limits]{
	{"memory", func(p *parser, f field, l *Limits) {
		size, ok := p.size(f)
		if ok && size < minMemory {
			p.report(p.at(f.value), "memory is less than the 4MiB that a step needs at least", `write a number and a unit, like "512MB"`)
		}
		l.Memory = size
	}},
	{"cpus", func(p *parser, f field, l *Limits) { l.CPUs, _ = p.count(f, 1, maxCPUs) }},
	{"pids", func(p *parser, f field, l *Limits) { l.PIDs, _ = p.count(f, 1, maxPIDs) }},
	{"file_size", func(p *parser, f field, l *Limits) { l.FileSize, _ = p.size(f) }},
}

// over returns the step's limits, with the pipeline's where it has none.
func (l Limits) over(common Limits) Limits {
	if l.Memory == 0 {
		l.Memory = common.Memory
	}
	if l.CPUs == 0 {
		l.CPUs = common.CPUs
	}
	if l.PIDs == 0 {
		l.PIDs = common.PIDs
	}
	if l.FileSize == 0 {
		l.FileSize = common.FileSize
	}
	return l
}
