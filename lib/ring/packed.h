/* SPDX-License-Identifier: MIT */
/*
 * Positions in a packed ring. A position is the index of a descriptor with the wrap counter in
 * bit 15, as SET_VRING_BASE has it: positions repeat after two times round, and num need not be a
 * power of two.
 */
#ifndef VHU_RING_PACKED_H
#define VHU_RING_PACKED_H

#include <ring/ring.h>

enum {
	WRAP = 1 << 15,
};

static VHU_ALWAYS_INLINE uint32_t index_of(uint16_t pos)
{
	return pos & (WRAP - 1u);
}

static VHU_ALWAYS_INLINE uint16_t advance(uint16_t pos, uint32_t n, uint32_t num)
{
	uint32_t i = index_of(pos) + n;

	if (i < num)
		return (uint16_t)(pos + n);
	return (uint16_t)((i - num) | (~(uint32_t)pos & WRAP));
}

/* Places from one position to a later one, below two times num. */
static VHU_ALWAYS_INLINE uint32_t distance(uint16_t from, uint16_t to, uint32_t num)
{
	uint32_t way = index_of(to) + ((from ^ to) & WRAP ? num : 0);

	/* an index that lies behind with the same wrap counter is nearly two rounds ahead */
	return way >= index_of(from) ? way - index_of(from) : way + 2 * num - index_of(from);
}

/* 2.8.1: available if AVAIL is the wrap counter and USED is not. */
static VHU_ALWAYS_INLINE bool is_available(uint16_t flags, uint16_t pos)
{
	const uint16_t both = VHU_DESC_F_AVAIL | VHU_DESC_F_USED;

	return (flags & both) == (pos & WRAP ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED);
}

#endif
