// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// series is one thing that is measured several times.
type series struct {
	name    string
	prepare func() error // what is not measured; nil for nothing
	measure func() (time.Duration, error)
	times   []time.Duration
}

// takeTurns measures all of them once, and again, so that what slows the
// machine down meanwhile slows down all. Every other round goes backwards: none
// has the caches always to itself.
func takeTurns(rounds int, all ...*series) error {
	for round := range rounds {
		order := slices.Clone(all)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, s := range order {
			if s.prepare != nil {
				if err := s.prepare(); err != nil {
					return fmt.Errorf("preparing %s: %w", s.name, err)
				}
			}
			took, err := s.measure()
			if err != nil {
				return err
			}
			s.times = append(s.times, took)
		}
	}
	return nil
}

// median returns the middle one, the later of two.
func (s *series) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[len(sorted)/2]
}

// table prints the series, and how the first compares with each.
func table(title string, all ...*series) {
	fmt.Printf("\n%s (%d rounds)\n", title, len(all[0].times))
	fmt.Printf("  %-52s %12s %12s %14s\n", "", "median", "min", "first to this")
	first := all[0].median()
	for _, s := range all {
		m := s.median()
		fmt.Printf("  %-52s %12s %12s %13.2fx\n", s.name, milli(m), milli(slices.Min(s.times)), ratio(first, m))
	}
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func milli(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}
