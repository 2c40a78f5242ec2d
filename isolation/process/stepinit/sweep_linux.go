// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweep kills every process below this one and waits for them. It is for where
// there are no PID namespaces: every orphan becomes a child of this process, so
// there is nowhere to hide, though one that starts others faster than they are
// found may take several rounds.
func sweep() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
			if errors.Is(err, unix.ECHILD) {
				return
			}
			if pid <= 0 {
				break // some are still dying
			}
		}
	}
}

// descendants returns the processes below pid, at any depth.
func descendants(pid int) []int {
	items, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, item := range items {
		child, err := strconv.Atoi(item.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(item.Name()); ok {
			children[parent] = append(children[parent], child)
		}
	}
	found := children[pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// parentOf reads the fourth field of stat. The second, a name in parentheses,
// may hold anything, parentheses and spaces too.
func parentOf(pid string) (int, bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false // gone by now
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}
