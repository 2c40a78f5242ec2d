#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs, by apt, what building and testing need and this machine lacks. It
# asks apt for nothing when nothing is missing. The kernel of virtual machines is
# only unpacked, below build/kernel: this machine does not boot it.
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
need qemu-system-x86 command -v qemu-system-x86_64 # virtual machines
# In Debian 12 it is part of qemu.
grep -qs '^12' /etc/debian_version || need virtiofsd test -x /usr/libexec/virtiofsd
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
kernel() { compgen -G 'build/kernel/boot/vmlinuz-*' >/dev/null; }
if [ ${#missing[@]} -eq 0 ] && kernel; then
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

install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}
# The package lists may be absent or too old: then they are fetched first.
if [ ${#missing[@]} -ne 0 ]; then
	echo "setup: installing ${missing[*]}"
	if ! install 2>/dev/null; then
		"${as_root[@]}" apt-get update -qq
		install
	fi
fi

# The package of the cloud kernel only names the one that has it.
unpack_kernel() (
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	(cd "$dir" && apt-get download -qq "$package" 2>/dev/null && dpkg -x ./*.deb kernel) &&
		rm -rf build/kernel && mkdir -p build && cp -r "$dir/kernel" build/kernel
)
if ! kernel; then
	echo "setup: unpacking a kernel for virtual machines"
	if ! unpack_kernel; then
		"${as_root[@]}" apt-get update -qq
		unpack_kernel
	fi
fi
echo "setup: done"
