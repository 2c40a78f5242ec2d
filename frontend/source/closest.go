// SPDX-License-Identifier: Apache-2.0

package source

import "strings"

// maxKnown bounds the work of Closest: nobody misspells one of ten thousand
// names so that only a machine could find it again.
const maxKnown = 10_000

// Closest returns the known word that a misspelt one was most likely meant to
// be: the fewest letters added, dropped, changed or swapped, without regard to
// case, or else one that begins with it. It reports false where none is close, or there are more than 10,000.
func Closest(word string, known []string) (string, bool) {
	most := 1 + min(len(word)/4, 2)
	if len(known) > maxKnown || len(word) > 100 {
		return "", false
	}
	best, found := "", false
	lower := strings.ToLower(word)
	for _, k := range known {
		if k == "" || len(k) > len(word)+most || len(word) > len(k)+most {
			continue
		}
		if d := distance(lower, strings.ToLower(k)); d <= most {
			best, found, most = k, true, d-1
		}
	}
	if !found && len(word) > 2 {
		for _, k := range known {
			if strings.HasPrefix(strings.ToLower(k), lower) {
				return k, true
			}
		}
	}
	return best, found
}

// distance is the number of bytes added, dropped, changed or swapped with
// their neighbour between a and b.
func distance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			next[j+1] = d
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
