// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/disk"
)

// What the engine may keep. It is the smaller of a fixed size and a tenth of
// the disk: all of it can be had again, and the disk belongs to others too.
const (
	maxKept      = 20 << 30
	maxKeptShare = 10 // one part in
	minFreeShare = 20 // one part in: keep less rather than fill the disk
	localKept    = 2 << 30
	localAge     = 48 * time.Hour
)

// gcPolicy is applied about a minute after a solve, and prunes what was not
// used for longest first.
func gcPolicy(root string) []client.PruneInfo {
	kept, free := int64(maxKept), int64(0)
	if stat, err := disk.GetDiskStat(root); err == nil {
		kept = min(kept, stat.Total/maxKeptShare)
		free = stat.Total / minFreeShare
	}
	return []client.PruneInfo{
		// Copies of inputs are the cheapest to make anew.
		{Filter: []string{"type==source.local"}, KeepDuration: localAge, MaxUsedSpace: min(localKept, kept)},
		{MaxUsedSpace: kept, MinFreeSpace: free},
		{All: true, MaxUsedSpace: kept, MinFreeSpace: free},
	}
}
