#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Format, vet, staticcheck, and the rules of the architecture.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "lint: gofmt"
unformatted=$(git ls-files -co --exclude-standard -- '*.go' | xargs -r gofmt -l)
if [ -n "$unformatted" ]; then
	echo "lint: run gofmt -w on:" >&2
	echo "$unformatted" >&2
	exit 1
fi
echo "lint: go vet"
go vet ./...
# Where steps run plainly, and where system calls have other numbers.
GOOS=darwin GOARCH=arm64 go vet ./cmd/attest/... ./isolation/process/... ./isolation/worker
GOARCH=arm64 go vet ./isolation/process/...
# Where nothing is run, and pipelines and receipts can be looked at.
GOOS=windows go build -o /dev/null ./cmd/attest
go -C hack/interop vet ./...
go -C examples/go-service vet ./...
echo "lint: staticcheck"
# The linter has a module of its own, so that go.mod lists what the program uses.
go -C hack/tools build -o ../../build/bin/staticcheck honnef.co/go/tools/cmd/staticcheck
build/bin/staticcheck ./...
echo "lint: architecture"
go test -count=1 ./hack/archtest
