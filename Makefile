# SPDX-License-Identifier: Apache-2.0

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO      ?= go
FUZZ    ?= 30s
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath

# Tests against the real engine fail where it is missing, instead of skipping.
REQUIRE := ATTEST_REQUIRE_BUILDKIT=1 ATTEST_REQUIRE_TOOLS=1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install by apt what is missing: runc and the like
	@bash hack/setup.sh

.PHONY: build
build: ## Build the programs into bin/
	$(BUILD) -o bin/ ./cmd/...
	@# Copied, their pages lie together in the system's memory: attest starts 1 ms sooner.
	@for program in bin/attest*; do cp $$program $$program.new && mv $$program.new $$program; done

.PHONY: images
images: ## Make the images of examples and tests below build/images, without a registry
	$(GO) run ./hack/mkimage -o build/images busybox go debian

.PHONY: quickstart
quickstart: setup build images ## See it work: run an example twice, verify it, tamper with it
	@bash hack/quickstart.sh

.PHONY: test
test: setup build images ## Every test, those against the real engine and a real registry included
	$(REQUIRE) $(GO) test -p 2 -timeout 20m ./...
	$(GO) -C hack/interop test ./...

.PHONY: short
short: ## Only the tests that need no engine
	$(GO) test -short ./...

.PHONY: e2e
e2e: setup build images ## Only the end-to-end tests
	$(REQUIRE) $(GO) test -timeout 20m -count 1 ./integration/e2e/...

.PHONY: race
race: ## The short tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -p 2 ./attestation/... ./frontend/... ./llb/... ./isolation/... ./cmd/...

.PHONY: lint
lint: ## gofmt, vet, staticcheck, and the rules of the architecture
	@bash hack/lint.sh

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZ (30s)
	@bash hack/fuzz.sh $(FUZZ)

.PHONY: golden
golden: ## Refresh golden files
	ATTEST_UPDATE=1 $(GO) test -short ./...

.PHONY: bench
bench: setup build images ## Measure speed and memory, side by side with others; BENCH=-help
	CGO_ENABLED=0 $(GO) -C hack/tools build -trimpath -o ../../build/bin/buildctl github.com/moby/buildkit/cmd/buildctl
	$(BUILD) -o build/bin/bench ./hack/bench
	build/bin/bench $(BENCH)

.PHONY: bench-peers
bench-peers: ## Get the programs that make bench compares with
	@bash hack/peers.sh

.PHONY: verify
verify: lint golden test ## What a change must pass: lint, golden files, tests, and a clean tree
	@test -z "$$(git status --porcelain)" || { git status --short; git --no-pager diff; exit 1; }

.PHONY: clean
clean: ## Stop the engine and remove what was built
	-test ! -x bin/attest || bin/attest engine stop
	rm -rf bin build
