// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"errors"
	"testing"

	"github.com/attest-pipeline/attest/isolation/egress"
)

func TestRules(t *testing.T) {
	listed := []string{"*.example.org", "127.0.0.1", "example.com"}
	for _, test := range []struct {
		url    string
		listed bool // with the list above
		any    bool // without a list
	}{
		{"https://example.com/x", true, true},
		{"https://EXAMPLE.com./x", true, true},
		{"http://example.com:8080/x", true, true},
		{"https://user:pass@example.com:443/x?y#z", true, true},
		{"https://a.example.org/", true, true},
		{"https://a.b.example.org/", true, true},
		{"https://example.org/", false, true},
		{"https://evilexample.org/", false, true},
		{"https://example.org.evil.com/", false, true},
		{"https://example.com@evil.com/", false, true},
		{"https://evil.com/example.com", false, true},
		{"http://127.0.0.1:1/", true, false},
		{"http://127.0.0.2/", false, false},
		{"http://[::1]/", false, false},
		{"http://[::ffff:127.0.0.1]/", false, false},
		{"http://localhost/", false, false},
		{"http://x.localhost/", false, false},
		{"http://169.254.169.254/latest/meta-data", false, false},
		{"http://[fe80::1%25eth0]/", false, false},
		{"http://[fd00:ec2::254]/", false, false},
		{"http://0.0.0.0/", false, false},
		{"http://224.0.0.1/", false, false},
		{"http://10.1.2.3/", false, true},
		{"ftp://example.com/", false, false},
		{"docker-image://example.com/x", false, false},
		{"http:///x", false, false},
		{"/x", false, false},
		{"http://exa mple.com/", false, false},
	} {
		err := egress.Rules{Allow: listed}.Check(test.url, egress.Plain(test.url))
		if (err == nil) != test.listed || err != nil && !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s, with a list: %v", test.url, err)
		}
		err = egress.Rules{}.Check(test.url, egress.Plain(test.url))
		if (err == nil) != test.any || err != nil && !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s, without a list: %v", test.url, err)
		}
	}
	// Nobody can allow what is not reached at all.
	if err := (egress.Rules{Allow: []string{"169.254.169.254"}}).Check("http://169.254.169.254/", "http://169.254.169.254/"); err == nil {
		t.Error("the metadata service was allowed")
	}
}

func TestRulesLocked(t *testing.T) {
	r := egress.Rules{OnlyLocked: true, Locked: []string{"https://example.com/a?sig=1", "http://example.com/b"}}
	for url, want := range map[string]bool{
		"https://example.com/a?sig=1":   true,
		"https://example.com:443/a":     true,
		"https://example.com/a?sig=2":   true,
		"http://example.com/a":          false,
		"https://example.com/A":         false,
		"https://example.com/b":         false,
		"http://example.com:80/b":       true,
		"http://example.com:81/b":       false,
		"http://example.com/":           false,
		"https://example.com/a/../evil": false,
	} {
		err := r.Check(url, egress.Plain(url))
		var notLocked *egress.NotLockedError
		if (err == nil) != want || err != nil && !errors.As(err, &notLocked) {
			t.Errorf("%s: %v", url, err)
		}
	}
	masked := egress.Rules{OnlyLocked: true, Locked: []string{"https://example.com/***/a"}}
	if err := masked.Check("https://example.com/hunter2/a", "https://example.com/***/a"); err != nil {
		t.Errorf("what a record masks is not found in the lock: %v", err)
	}
	if err := masked.Check("https://example.com/hunter2/b", "https://example.com/***/b"); err == nil || err.Error() != "refused: attest.lock does not have https://example.com/***/b" {
		t.Errorf("got %v", err)
	}
	if err := (egress.Rules{OnlyLocked: true}).Check("http://example.com/", "http://example.com/"); err == nil {
		t.Error("an empty lock allows everything")
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct {
		host, address string
		want          bool
	}{
		{"example.org", "93.184.216.34:443", true},
		{"intern.example.org", "10.0.0.1:80", true},
		{"example.org", "127.0.0.1:80", false},
		{"127.1", "127.0.0.1:80", false},
		{"2130706433", "127.0.0.1:80", false},
		{"example.org", "[::1]:80", false},
		{"example.org", "[::ffff:127.0.0.1]:80", false},
		{"example.org", "169.254.169.254:80", false},
		{"169.254.169.254", "169.254.169.254:80", false},
		{"example.org", "[::ffff:169.254.169.254]:80", false},
		{"example.org", "[fe80::1%eth0]:80", false},
		{"example.org", "[fd00:ec2::254]:80", false},
		{"example.org", "100.100.100.200:80", false},
		{"example.org", "0.0.0.0:80", false},
		{"example.org", "255.255.255.255:80", false},
		{"example.org", "[ff02::1]:80", false},
		{"127.0.0.1", "127.0.0.1:80", true},
		{"localhost", "[::1]:80", true},
		{"example.org", "example.org:80", false},
	} {
		if err := egress.Reachable(test.host, test.address); (err == nil) != test.want {
			t.Errorf("%s at %s: %v", test.host, test.address, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.org:443/x?y=z#f": "https://example.org/x?y=z",
		"http://example.org:80":           "http://example.org",
		"http://example.org:443/":         "http://example.org:443/",
		"https://[::1]:443/":              "https://[::1]/",
		"https://me:secret@example.org/":  "https://xxxxx:xxxxx@example.org/",
		"https://secret@example.org/":     "https://xxxxx@example.org/",
		"nonsense":                        "nonsense",
	} {
		if got := egress.Plain(raw); got != want || egress.Plain(got) != want {
			t.Errorf("Plain(%q) = %q, want %q", raw, got, want)
		}
	}
}
