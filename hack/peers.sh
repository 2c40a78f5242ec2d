#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Gets the programs that hack/bench compares attest with, those that this machine
# lacks, into build/peers and by apt. Whatever cannot be had, the benchmark goes
# without and says so. It installs nothing of what the project itself needs.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/peers

# What the goals were set against; other versions may be faster or slower.
turbo=turbo@2.11.11
task=github.com/go-task/task/v3/cmd/task@v3.54.0

left_out=()
try() { # try WHAT COMMAND...
	local what=$1
	shift
	echo "peers: getting $what"
	"$@" || left_out+=("$what")
}

packages=()
for p in b3sum git make npm; do
	command -v "$p" >/dev/null || packages+=("$p")
done
command -v bwrap >/dev/null || packages+=(bubblewrap)
if [ ${#packages[@]} -gt 0 ]; then
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	try "${packages[*]}" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends "${packages[@]}" </dev/null >/dev/null
fi

if ! compgen -G "$folder/node_modules/@turbo/*/bin/turbo" >/dev/null; then
	try "$turbo" npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$folder" "$turbo"
fi
if [ ! -x "$folder/bin/task" ]; then
	try "$task" env GOBIN="$folder/bin" CGO_ENABLED=0 go install "$task"
fi

if [ ${#left_out[@]} -gt 0 ]; then
	echo "peers: could not get ${left_out[*]}" >&2
	exit 1
fi
echo "peers: everything is here"
