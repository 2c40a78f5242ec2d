#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows attest at work on examples/go-service: signed runs, a verified
# receipt, and what a changed file does to verification. `make quickstart`
# builds everything first.
set -euo pipefail
cd "$(dirname "$0")/.."
attest=$PWD/bin/attest
cd examples/go-service

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
if [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ]; then
	say() { printf '\n%s\n' "$*"; }
fi
run() {
	printf '$ %s\n' "$*"
	"$@"
}
attest() { "$attest" "$@"; }

say "1. The example: an HTTP service in Go with two modules of third parties, put into vendor/."
run go mod vendor

say "2. Four steps, each in a container without network. The first run also unpacks the images."
run attest run --sign

say "3. Again. Nothing has changed, so nothing runs: results are kept, and a receipt is written all the same."
run attest run --sign

say "4. All of it once more, without what is kept. Compare what the two runs built."
first=$(sha256sum dist/links.tar.gz)
run attest run --sign --no-cache
second=$(sha256sum dist/links.tar.gz)
printf 'first  %s\nsecond %s\n' "$first" "$second"
[ "$first" = "$second" ] || { echo "the two runs built different archives" >&2; exit 1; }

# Names carry the time, so the last in order is the newest.
receipt=$(ls .attest/receipts/receipt_*.yaml | tail -n 1)
say "5. The receipt holds every input and output by digest, and is signed. It verifies:"
run attest verify "$receipt"

say "6. Now somebody changes the archive that was built:"
cp dist/links.tar.gz .attest/links.tar.gz.kept
restore() { mv -f .attest/links.tar.gz.kept dist/links.tar.gz; }
trap restore EXIT
echo '$ echo tampered >> dist/links.tar.gz'
echo tampered >> dist/links.tar.gz
status=0
run attest verify "$receipt" || status=$?
[ "$status" -eq 4 ] || { echo "verification should have failed with exit code 4, not $status" >&2; exit 1; }

say "7. Put back, it verifies again:"
trap - EXIT
restore
run attest verify "$receipt"

say "Next: in examples/go-service, read attest.yaml and"
echo "$receipt, or run bin/attest init in a project of your own."
