// SPDX-License-Identifier: Apache-2.0

package pipeline

// Bounds on limits: no step works with less, no machine has more.
const (
	minMemory = 4 << 20
	maxCPUs   = 4096
	maxPIDs   = 4 << 20
)

// placedLimits are limits while they are being read.
type placedLimits struct {
	Limits
	pos LimitPos
}

var limitKeys = []key[placedLimits]{
	{LimitMemory, func(p *parser, f field, l *placedLimits) {
		size, ok := p.size(f)
		if ok && size < minMemory {
			p.report(p.at(f.value), "memory is less than the 4MiB that a step needs at least", `write a number and a unit, like "512MB"`)
		}
		l.Memory, l.pos.Memory = size, p.at(f.value)
	}},
	{"cpus", func(p *parser, f field, l *placedLimits) { l.CPUs, _ = p.count(f, 1, maxCPUs) }},
	{LimitPIDs, func(p *parser, f field, l *placedLimits) {
		l.PIDs, _ = p.count(f, 1, maxPIDs)
		l.pos.PIDs = p.at(f.value)
	}},
	{LimitFileSize, func(p *parser, f field, l *placedLimits) {
		l.FileSize, _ = p.size(f)
		l.pos.FileSize = p.at(f.value)
	}},
}

// over returns the step's limits, with the pipeline's where it has none.
func (l placedLimits) over(common placedLimits) placedLimits {
	if l.Memory == 0 {
		l.Memory, l.pos.Memory = common.Memory, common.pos.Memory
	}
	if l.CPUs == 0 {
		l.CPUs = common.CPUs
	}
	if l.PIDs == 0 {
		l.PIDs, l.pos.PIDs = common.PIDs, common.pos.PIDs
	}
	if l.FileSize == 0 {
		l.FileSize, l.pos.FileSize = common.FileSize, common.pos.FileSize
	}
	return l
}
