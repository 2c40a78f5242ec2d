// SPDX-License-Identifier: Apache-2.0

package plan

import stdheap "container/heap"

// heap hands out the smallest of its numbers.
type heap []int

func (h *heap) push(i int) { stdheap.Push((*order)(h), i) }
func (h *heap) pop() int   { return stdheap.Pop((*order)(h)).(int) }

// order is a heap as container/heap wants it.
type order []int

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i] < o[j] }
func (o order) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *order) Push(x any)        { *o = append(*o, x.(int)) }
func (o *order) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}
