/* SPDX-License-Identifier: MIT */
/*
 * Checked arithmetic and small helpers on numbers. Knows nothing of the protocol.
 */
#ifndef VHU_BASE_BITS_H
#define VHU_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHU_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define vhu_likely(x) __builtin_expect(!!(x), 1)
#define vhu_unlikely(x) __builtin_expect(!!(x), 0)

#define VHU_HIDDEN __attribute__((visibility("hidden")))
#define VHU_ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint64_t vhu_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint32_t vhu_min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline bool vhu_is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* True if [off, off + len) lies in [0, size). */
static inline bool vhu_range_within(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* True if base + len wraps; a range that ends at 2^64 exactly counts as wrapping. */
static inline bool vhu_range_wraps(uint64_t base, uint64_t len)
{
	return len > UINT64_MAX - base;
}

/* True if the two ranges, neither of which wraps, share a byte. */
static inline bool vhu_ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static inline bool vhu_has_bit(uint64_t set, unsigned int bit)
{
	return bit < 64 && (set >> bit & 1);
}

#endif
