#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module, one after the other, for a given time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}

git grep -lE '^func Fuzz' -- '*_test.go' | xargs -rn1 dirname | sort -u | while read -r dir; do
	git grep -hoE '^func Fuzz[A-Za-z0-9_]+' -- "$dir/*_test.go" | sed 's/^func //' | sort -u | while read -r target; do
		echo "fuzz: $dir $target $time"
		# Go would make every new input as short as can be first, for up to a minute
		# each, and try nothing meanwhile.
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "./$dir" </dev/null
	done
done
