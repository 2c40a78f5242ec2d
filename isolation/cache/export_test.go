// SPDX-License-Identifier: Apache-2.0

package cache

import "time"

// Hurry returns how long Maintain compresses what nobody used of late, and how
// long content is at most that it does so with.
func (s *Store) Hurry() (time.Duration, int64) { return s.hurry.time, s.hurry.largest }

// SetHurry sets them.
func (s *Store) SetHurry(most time.Duration, largest int64) { s.hurry = patience{most, largest} }
