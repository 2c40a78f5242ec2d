// SPDX-License-Identifier: Apache-2.0

// Package egress decides where a recorded network may reach.
//
// Start with [Rules], which judges a request by its URL before anything is sent,
// and [Reachable], which judges the address that a name turned out to be. Both
// are asked: the first by whoever runs the step, which knows the allow-list,
// the second by whoever connects. Everything here is plain data and safe for
// concurrent use.
//
// The loopback of the machine that fetches is reached only where the allow-list
// names it, "127.0.0.1" or "localhost", and never by a name that happens to
// lead there. Addresses of its own link, the metadata service of a cloud above
// all, are not reached at all.
package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// ErrRefused is matched by every error of this package.
var ErrRefused = errors.New("refused")

// NotLockedError says that a URL is not among those that a lock holds.
type NotLockedError struct{ URL string }

// Error names the URL.
func (e *NotLockedError) Error() string { return "refused: attest.lock does not have " + e.URL }

// Unwrap returns [ErrRefused].
func (e *NotLockedError) Unwrap() error { return ErrRefused }

// NotAllowedError says that a host is not on a step's allow-list.
type NotAllowedError struct{ Host string }

// Error names the host.
func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("refused: %s is not on the step's allow-list", e.Host)
}

// Unwrap returns [ErrRefused].
func (e *NotAllowedError) Unwrap() error { return ErrRefused }

// Rules are what one step may ask for.
type Rules struct {
	// Allow are the hosts, "example.org" or "*.example.org" for all below it,
	// in lower case. Empty means any.
	Allow []string
	// Locked are the only URLs, as records spell them, where OnlyLocked is set. What stands behind a question mark is left out of the comparison:
	// stores sign it anew for each request.
	Locked     []string
	OnlyLocked bool
}

// Check returns nil for a URL that may be asked for. recorded is how records spell
// it: [Plain], and without secrets. Errors match [ErrRefused].
func (r Rules) Check(raw, recorded string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%w: %q is no URL of HTTP", ErrRefused, raw)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	named := slices.ContainsFunc(r.Allow, func(pattern string) bool { return matches(pattern, host) })
	ip, err := netip.ParseAddr(host)
	switch isIP := err == nil; {
	case isIP && isLocal(ip):
		return fmt.Errorf("%w: a recorded network does not reach %s", ErrRefused, ip)
	case !named && (isIP && ip.Unmap().IsLoopback() || isLocalhost(host)):
		return fmt.Errorf("%w: %s is the machine itself, and the step's allow-list does not name it", ErrRefused, host)
	case !named && len(r.Allow) > 0:
		return &NotAllowedError{host}
	case r.OnlyLocked && !slices.ContainsFunc(r.Locked, func(l string) bool { return Page(l) == Page(recorded) }):
		return &NotLockedError{recorded}
	}
	return nil
}

func matches(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, below) && host != below[1:]
	}
	return pattern == host
}

func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Plain spells a URL as records have it: without the port that goes without
// saying, without credentials, and without what a browser keeps to itself
// behind a #. What is no URL is left as it is.
func Plain(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || !u.IsAbs() {
		return raw
	}
	if port := u.Port(); u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(hidden, hidden)
	} else if u.User != nil {
		u.User = url.User(hidden)
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

// hidden stands for a name and for a password.
const hidden = "xxxxx"

// Page is a URL up to the question mark.
func Page(raw string) string {
	page, _, _ := strings.Cut(raw, "?")
	return page
}

// Reachable returns nil for an address, IP:PORT, that may be connected to for
// host, which is what the URL has. Errors match [ErrRefused].
func Reachable(host, address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	ip := to.Addr().WithZone("").Unmap()
	switch {
	case isLocal(ip):
		return fmt.Errorf("%w: a recorded network does not reach %s", ErrRefused, ip)
	case ip.IsLoopback() && !isLoopbackName(host):
		return fmt.Errorf("%w: %q leads to %s, which is the machine itself", ErrRefused, host, ip)
	}
	return nil
}

// isLoopbackName reports whether host is loopback's plain name, which [Rules]
// let through because somebody meant it.
func isLoopbackName(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

// isLocal reports whether an address means something only to the machine that
// uses it, and is not its loopback.
func isLocal(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	return !ip.IsGlobalUnicast() && !ip.IsLoopback() || slices.Contains(metadata(), ip.String())
}

// metadata are the addresses that look like any other and where clouds tell
// their machines secrets. Most clouds use a link-local one.
func metadata() []string {
	return []string{
		"fd00:ec2::254",   // AWS
		"100.100.100.200", // Alibaba
		"168.63.129.16",   // Azure
		"192.0.0.192",     // Oracle
	}
}
