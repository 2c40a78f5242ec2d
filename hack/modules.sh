#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fills a folder with the Go modules that packages and their tests need, so that
# a step without network can build them: hack/modules.sh FOLDER PACKAGE...
# Modules come from this machine's module cache, and from the network only where
# that lacks them.
set -euo pipefail
folder=$PWD/$1
shift

cache=$(go env GOMODCACHE)
upstream=$(go env GOPROXY)
export GOPROXY="file://$cache/cache/download,$upstream"
export GOMODCACHE=$folder
export GOFLAGS=-modcacherw # or nobody could remove the folder
go list -deps -test "$@" >/dev/null

# What was unpacked is enough, and go.sum vouches for it.
find "$folder/cache" \( -name '*.zip' -o -name '*.lock' -o -name lock -o -name list \) -delete
rm -rf "$folder/cache/vcs"
