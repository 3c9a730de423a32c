// SPDX-License-Identifier: MIT
/* Percentiles out of a histogram; knows nothing of what was counted. */

#include "bench/hist.h"

/* The middle of a bucket. */
static uint64_t middle(unsigned int bucket)
{
	unsigned int shift;
	uint64_t low;

	if (bucket < HIST_SUB)
		return bucket;
	shift = bucket / HIST_SUB - 1;
	low = (uint64_t)(bucket % HIST_SUB + HIST_SUB) << shift;
	return low + ((UINT64_C(1) << shift) >> 1);
}

uint64_t hist_percentile(const struct hist *hist, double share)
{
	uint64_t wanted, seen = 0, value = hist->max;

	if (!hist->count)
		return 0;
	/* the smallest rank that is not below the share */
	wanted = (uint64_t)(share * (double)hist->count);
	if ((double)wanted < share * (double)hist->count)
		wanted++;
	if (!wanted)
		wanted = 1;
	if (wanted >= hist->count)
		return hist->max;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen >= wanted) {
			value = middle(i);
			break;
		}
	}
	if (value < hist->min)
		value = hist->min;
	return value > hist->max ? hist->max : value;
}
