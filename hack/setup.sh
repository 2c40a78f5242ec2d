#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs, by apt, what building and testing need and this machine lacks. It
# asks apt for nothing when nothing is missing.
set -euo pipefail

# Each line: a test that the machine has it, and the Debian package that brings it.
missing=()
need() { # need PACKAGE COMMAND...
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
static_busybox() {
	local busybox
	busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1
}

need runc command -v runc             # runs containers, under the embedded engine
need busybox-static static_busybox    # the small image
need mmdebstrap command -v mmdebstrap # the Debian image
need git command -v git
need make command -v make
need gcc command -v gcc
need libc6-dev test -e /usr/include/stdio.h
need python3 command -v python3 # the independent receipt verifier
need openssl command -v openssl # checks signatures that attest made
need openssh-client command -v ssh-keygen # prints a key's fingerprint, to compare
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt

if ! command -v go >/dev/null; then
	echo "setup: Go is missing: get it from https://go.dev/dl (go.mod names the version)" >&2
	exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then
	echo "setup: everything is here"
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "setup: this machine has no apt; install by hand: ${missing[*]}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "setup: as root, run: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

echo "setup: installing ${missing[*]}"
install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}
# The package lists may be absent or too old: then they are fetched first.
if ! install 2>/dev/null; then
	"${as_root[@]}" apt-get update -qq
	install
fi
echo "setup: done"
