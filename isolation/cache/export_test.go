// SPDX-License-Identifier: Apache-2.0

package cache

import "time"

// Hurry returns how long Maintain compresses what nobody used of late, and how
// long content is at most that it does so with.
func (s *Store) Hurry() (time.Duration, int64) { return s.hurry.idle, s.hurry.largest }

// SetHurry sets them.
func (s *Store) SetHurry(most time.Duration, largest int64) {
	s.hurry = patience{most, most, largest}
}

// SetPressed sets how long Put compresses to make room.
func (s *Store) SetPressed(most time.Duration) { s.pressed.room = most }
