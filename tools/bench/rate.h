/* SPDX-License-Identifier: MIT */
/* A limit of frames or bits per second, kept by a bucket of tokens; knows nothing of clocks. */
#ifndef BENCH_RATE_H
#define BENCH_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t per_s; /* 0: no limit */
	bool is_bits;	/* else frames */
};

/* "10kpps", "2.5gbit": a number, k, m or g, then pps or bit. False: it is none. */
bool rate_parse(const char *text, struct rate *ret_rate);

struct bucket {
	struct rate rate;
	uint64_t filled_ns; /* 0: never */
	double tokens;	    /* below 0: what was sent beyond */
};

/* More tokens for the time gone by. At most what 5 ms bring is kept, so that a pause is not
 * made up for by a flood. */
void bucket_fill(struct bucket *bucket, uint64_t now_ns);
/* Whether a frame may be sent now. */
static inline bool bucket_may(const struct bucket *bucket)
{
	return !bucket->rate.per_s || bucket->tokens > 0;
}
/* One of len bytes was sent. */
static inline void bucket_take(struct bucket *bucket, uint32_t len)
{
	if (bucket->rate.per_s)
		bucket->tokens -= bucket->rate.is_bits ? (double)len * 8 : 1;
}
/* Nanoseconds until a frame may be sent, beginning at the last fill; 0: now. */
uint64_t bucket_wait_ns(const struct bucket *bucket);

#endif
