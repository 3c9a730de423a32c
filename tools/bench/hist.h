/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations with buckets of at most 1.6 % width, for percentiles; knows nothing of
 * what took so long.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

enum {
	HIST_SUB_BITS = 6,
	HIST_SUB = 1 << HIST_SUB_BITS, /* buckets for each doubling */
	HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) * HIST_SUB,
};

struct hist {
	uint64_t count, min, max;
	uint64_t buckets[HIST_BUCKETS];
};

static inline unsigned int hist_bucket(uint64_t value)
{
	unsigned int shift;

	if (value < HIST_SUB)
		return (unsigned int)value;
	shift = 63 - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift + 1) * HIST_SUB + (unsigned int)(value >> shift) - HIST_SUB;
}

static inline void hist_add(struct hist *hist, uint64_t value)
{
	if (!hist->count || value < hist->min)
		hist->min = value;
	if (value > hist->max)
		hist->max = value;
	hist->count++;
	hist->buckets[hist_bucket(value)]++;
}

/* The value that share (0 to 1) of all are not above; 0 if there is none. */
uint64_t hist_percentile(const struct hist *hist, double share);

#endif
