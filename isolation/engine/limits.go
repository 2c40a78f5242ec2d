// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Exit codes of a command that a limit ended, as shells have them.
const (
	exitKilled   = 128 + int(syscall.SIGKILL)
	exitFileSize = 128 + 25 // SIGXFSZ, which not every system has
)

// limitError says of a command that failed which limit it ran into, and where to
// raise that; text is empty for none.
func (w *walk) limitError(out executor.Outcome) (text string, hints []string) {
	limits, at := w.step.Limits, w.step.LimitPos
	switch {
	case out.TimedOut:
		return "", nil
	case slices.Contains(out.Met, pipeline.LimitMemory):
		limit := "for want of memory"
		if limits.Memory > 0 {
			limit = "at its memory limit of " + byteText(limits.Memory)
		}
		text = "the command was killed " + limit
		if out.ExitCode != exitKilled {
			text = fmt.Sprintf("the command ended with exit code %d: something that it ran was killed %s", out.ExitCode, limit)
		}
		return text, []string{raise(pipeline.LimitMemory, at.Memory)}
	case slices.Contains(out.Met, pipeline.LimitPIDs):
		return fmt.Sprintf("the command ended with exit code %d: it was to have more than its limit of %d processes and threads",
				out.ExitCode, cmp.Or(limits.PIDs, pipeline.DefaultPIDs)),
			[]string{raise(pipeline.LimitPIDs, at.PIDs)}
	case limits.FileSize > 0 && out.ExitCode == exitFileSize:
		return "the command was killed at its limit of " + byteText(limits.FileSize) + " for the size of a file",
			[]string{raise(pipeline.LimitFileSize, at.FileSize)}
	}
	return "", nil
}

// raise is the way out of a limit.
func raise(name string, pos source.Pos) string {
	hint := "raise limits." + name
	if !pos.IsZero() {
		hint += ", which stands at " + pos.String()
	}
	return hint
}

// byteText spells a number of bytes as attest.yaml may have it.
func byteText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}} {
		if n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + " " + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
