// SPDX-License-Identifier: Apache-2.0

package buildkitd

import "testing"

func TestRejects(t *testing.T) {
	const group, said = "/attest-1/x", "cgroup: fork rejected by pids controller in /attest-1/x\n"
	for name, test := range map[string]struct {
		record string
		want   bool
	}{
		"the kernel":             {"6,8123,15825552142,-;" + said, true},
		"from within a host":     {"6,8123,15825552142,-;cgroup: fork rejected by pids controller in /docker/abc/attest-1/x\n", true},
		"with a dictionary":      {"6,8123,15825552142,-;" + said + " SUBSYSTEM=x\n", true},
		"another group":          {"6,8123,15825552142,-;cgroup: fork rejected by pids controller in /attest-1/xy\n", false},
		"a group within a name":  {"6,8123,15825552142,-;cgroup: fork rejected by pids controller in /other-attest-1/x\n", false},
		"written by a program":   {"12,8123,15825552142,-;" + said, false},
		"something else":         {"6,8123,15825552142,-;cgroup: in /attest-1/x\n", false},
		"within another's words": {"6,8123,15825552142,-;usb: cgroup: fork rejected by pids controller in /attest-1/x\n", false},
		"nothing":                {"", false},
	} {
		if got := rejects([]byte(test.record), group); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
