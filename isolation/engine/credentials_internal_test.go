// SPDX-License-Identifier: Apache-2.0

package engine

import "testing"

// What tools print that are not let in, each in its own words.
func TestLacksCredentials(t *testing.T) {
	paths := []string{"/home/u/.ssh"}
	for _, log := range []string{
		"git@localhost: Permission denied (publickey,password).",
		"Host key verification failed.",
		"fatal: could not read Username for 'https://localhost': terminal prompts disabled",
		"npm error code E401",
		"curl: (22) The requested URL returned error: 401",
		"remote: HTTP Basic: Access denied",
		"Unable to locate credentials. You can configure credentials by running \"aws configure\".",
		"error: 403 Forbidden",
		"cat: /home/u/.ssh/id_ed25519: No such file or directory",
	} {
		if !lacksCredentials([]byte("working\n"+log+"\n"), paths) {
			t.Errorf("not noticed: %s", log)
		}
	}
	for _, log := range []string{"", "main.c:401: expected ';'", "permission denied: ./build.sh", "cat: /home/u/.config/x: No such file or directory"} {
		if lacksCredentials([]byte(log), paths) {
			t.Errorf("taken for a want of credentials: %s", log)
		}
	}
}
