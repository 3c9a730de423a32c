/* SPDX-License-Identifier: MIT */
/*
 * How much may be taken just now: token buckets, for bits and for frames, that any number of threads take
 * from at once. Time is what the caller says; queues and timers are not known.
 *
 * A bucket is one number: when it would be full again if nobody took anything more. What is taken
 * moves that moment into the future; once it is further away than a full bucket lasts the bucket is
 * empty. It may be overdrawn by what was taken in one go: then it takes longer until there is something again.
 */
#ifndef SW_BUCKET_H
#define SW_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sw_bucket {
	_Atomic uint64_t rate;	  /* units a second; 0: no limit */
	_Atomic uint64_t burst;	  /* how long a full bucket lasts, in ticks */
	_Atomic uint64_t full_at; /* ticks */
};

/* Of a port. */
struct sw_limit {
	struct sw_bucket bits, frames;
};

/* Control thread: from now on, with a full bucket. 0: no limit. */
void sw_limit_set(struct sw_limit *limit, uint64_t bits_a_second, uint64_t frames_a_second);

static inline bool sw_limit_is_on(const struct sw_limit *limit)
{
	return atomic_load_explicit(&limit->bits.rate, memory_order_relaxed) ||
	       atomic_load_explicit(&limit->frames.rate, memory_order_relaxed);
}

/* How many frames, at most max, may be taken now. 0: none before *ret_ns. */
unsigned int sw_limit_ask(struct sw_limit *limit, uint64_t now_ns, unsigned int max,
			  uint64_t *ret_ns);
/* So much was taken. */
void sw_limit_take(struct sw_limit *limit, uint64_t now_ns, uint64_t frames, uint64_t bytes);

#endif
