/* SPDX-License-Identifier: MIT */
/*
 * What became of numbered things: which came, came twice, came late, never came. It knows nothing of
 * what they are.
 */
#ifndef BENCH_TRACK_H
#define BENCH_TRACK_H

#include <stdbool.h>
#include <stdint.h>

enum {
	TRACK_WINDOW = 65536, /* numbers behind the highest that are still told apart */
	TRACK_WORDS = TRACK_WINDOW / 64,
};

struct track {
	uint64_t first;	     /* the first that counts */
	uint64_t next;	     /* one above the highest that came */
	uint64_t unique;     /* came, each counted once */
	uint64_t duplicates; /* came again, or so late that nobody knows */
	uint64_t reordered;  /* came behind a higher one */
	uint64_t bits[TRACK_WORDS];
};

/* first: what was before that is not missed. */
void track_begin(struct track *track, uint64_t first);
/* Number seq came. True: for the first time. */
bool track_add(struct track *track, uint64_t seq);
/* Those below the highest that never came. */
static inline uint64_t track_missing(const struct track *track)
{
	return track->next - track->first - track->unique;
}

#endif
