// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"context"
	"math/bits"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3/guts"
)

// Large is the length in bytes from which content is hashed on several
// processors at once where it lies in memory or in a file.
const Large = 1 << 20

// BLAKE3 is a binary tree over chunks whose left sides are as large as a power
// of two can be (BLAKE3 specification, 2.1). Content is cut into windows, these
// into segments: all but the last are whole subtrees.
const (
	// windowSize bounds how many segments are remembered at a time: they take a
	// megabyte.
	windowSize = 8 << 30
	// segmentSize is what a processor takes at a time: enough to pay for the
	// handing out, little enough to stay in its cache.
	segmentSize = 256 << 10
	// groupSize is what one call of the library compresses.
	groupSize = guts.MaxSIMD * guts.ChunkSize
)

type chain = [8]uint32

// source gives n bytes of some content from at on, in the processor's cache.
// They are good until the next call.
type source func(at int64, n int) ([]byte, error)

// ofLarge is [Of] for content of [Large] bytes and more.
func ofLarge(b []byte) Digest {
	d, err := large(context.Background(), int64(len(b)), func() source {
		return func(at int64, n int) ([]byte, error) {
			fetch(b[at:][:n])
			return b[at:][:n], nil
		}
	})
	if err != nil {
		panic("digest: reading memory: " + err.Error())
	}
	return d
}

// workers is how many segments are at work at once: while some wait for the disk,
// others are hashed. A disk has enough to do with 32.
func workers() int {
	n := runtime.GOMAXPROCS(0)
	return min(8*n, max(32, 2*n))
}

// large hashes content of more than one segment, several at once, each from a
// source of its own.
func large(ctx context.Context, size int64, content func() source) (Digest, error) {
	return largeIn(ctx, size, windowSize, content)
}

// largeIn is large with windows of another size, which is a power of two.
func largeIn(ctx context.Context, size, windowSize int64, content func() source) (Digest, error) {
	sources := make([]source, workers())
	for i := range sources {
		sources[i] = content()
	}
	var windows []chain
	var root guts.Node
	for at := int64(0); at < size; at += windowSize {
		segments, err := hashWindow(ctx, sources, at, min(windowSize, size-at))
		if err != nil {
			return Digest{}, err
		}
		if size <= windowSize {
			root = join(segments)
		} else {
			windows = append(windows, joined(segments))
		}
	}
	if size > windowSize {
		root = join(windows)
	}
	root.Flags |= guts.FlagRoot
	sum := guts.WordsToBytes(guts.CompressNode(root))
	return Digest{BLAKE3, [Size]byte(sum[:Size])}, nil
}

// hashWindow hashes the segments of a window of the content, size bytes from
// at. Each source begins at a place of its own and goes on from there: a disk
// that is asked for several places at once gives more than one that is asked for
// a single one. Whoever is done helps the others.
func hashWindow(ctx context.Context, sources []source, at, size int64) ([]chain, error) {
	segments := make([]chain, (size+segmentSize-1)/segmentSize)
	stripes := cut(len(segments), len(sources))
	group, ctx := errgroup.WithContext(ctx)
	for first, segment := range sources[:len(stripes)] {
		group.Go(func() error {
			for i := range stripes {
				own := &stripes[(first+i)%len(stripes)]
				for n, ok := own.take(); ok; n, ok = own.take() {
					if err := context.Cause(ctx); err != nil {
						return err
					}
					from := n * segmentSize
					part, err := segment(at+from, int(min(segmentSize, size-from)))
					if err != nil {
						return err
					}
					segments[n] = guts.ChainingValue(subtree(part, uint64(at+from)/guts.ChunkSize))
				}
			}
			return nil
		})
	}
	return segments, group.Wait()
}

// stripe is a row of segments of which each is taken once.
type stripe struct {
	next atomic.Int64
	end  int64
}

// take returns the number of a segment that nobody has taken, while there is one.
func (s *stripe) take() (n int64, ok bool) {
	n = s.next.Add(1) - 1
	return n, n < s.end
}

// cut returns at most so many stripes that have count segments together.
func cut(count, most int) []stripe {
	stripes := make([]stripe, min(count, most))
	for i := range stripes {
		stripes[i].next.Store(int64(count * i / len(stripes)))
		stripes[i].end = int64(count * (i + 1) / len(stripes))
	}
	return stripes
}

// subtree returns the node over b, whose first chunk is the content's chunk
// number counter.
func subtree(b []byte, counter uint64) guts.Node {
	if len(b) > groupSize {
		left := leftOf(len(b))
		return parent(subtree(b[:left], counter), subtree(b[left:], counter+uint64(left/guts.ChunkSize)))
	}
	if len(b) < groupSize {
		var whole [groupSize]byte
		copy(whole[:], b)
		return guts.CompressBuffer(&whole, len(b), &guts.IV, counter, 0)
	}
	return guts.CompressBuffer((*[groupSize]byte)(b), groupSize, &guts.IV, counter, 0)
}

// fetch brings b into the processor's cache, in order: the library reads from
// all chunks in turn, which the processor does not foresee.
func fetch(b []byte) {
	const line = 64
	var sum byte
	for i := 0; i < len(b); i += line {
		sum += b[i]
	}
	runtime.KeepAlive(sum)
}

// join returns the node over two segments or more.
func join(segments []chain) guts.Node {
	left := leftOf(len(segments))
	return guts.ParentNode(joined(segments[:left]), joined(segments[left:]), &guts.IV, 0)
}

func joined(segments []chain) chain {
	if len(segments) == 1 {
		return segments[0]
	}
	return guts.ChainingValue(join(segments))
}

func parent(left, right guts.Node) guts.Node {
	return guts.ParentNode(guts.ChainingValue(left), guts.ChainingValue(right), &guts.IV, 0)
}

// leftOf returns the largest power of two below n.
func leftOf(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }
