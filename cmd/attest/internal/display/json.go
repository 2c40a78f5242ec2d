// SPDX-License-Identifier: Apache-2.0

package display

import "github.com/attest-pipeline/attest/isolation/event"

// jsonLines writes every event as one JSON object on a line of its own.
type jsonLines struct{ *event.Lines }

// Close does nothing: every line is out already.
func (jsonLines) Close() {}
