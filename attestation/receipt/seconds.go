// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// seconds is a duration in whole milliseconds, written as a number of seconds
// with at most three decimals and none to spare: 127, 0.1, 45.003. Such a number
// reads the same in JSON, in YAML and in RFC 8785.
type seconds int64

func secondsOf(d time.Duration) seconds { return seconds(d.Round(time.Millisecond) / time.Millisecond) }

func (s seconds) duration() time.Duration { return time.Duration(s) * time.Millisecond }

// String returns the number.
func (s seconds) String() string {
	text := fmt.Sprintf("%d.%03d", s/1000, s%1000)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// MarshalJSON returns the number.
func (s seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// parseSeconds is lenient about spare zeros: comparing with the one spelling of
// the document refuses those.
func parseSeconds(text string) (seconds, error) {
	whole, decimals, _ := strings.Cut(text, ".")
	if len(decimals) > 3 || len(whole) > 10 {
		return 0, fmt.Errorf("%q is not a number of seconds", text)
	}
	n, err := strconv.ParseUint(whole+(decimals + "000")[:3], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of seconds", text)
	}
	return seconds(n), nil
}
