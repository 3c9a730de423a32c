// SPDX-License-Identifier: MIT
/* Token buckets in one atomic word each; what the time is they are told. */

#include "switch/bucket.h"

enum {
	TICKS_A_NS = 64, /* 64 bytes at 100 Gbit/s take 5.1 ns */
	/* A full bucket lasts so long, or for so much if that is longer: who comes by every millisecond
	 * then finds what has come together. */
	BURST_NS = 10 * 1000 * 1000,
	BURST_BITS = 2 * 65536 * 8,
	BURST_FRAMES = 32,
	FRAME_BITS = 65536 * 8, /* the largest */
};

#define TICKS_A_SECOND (UINT64_C(1000000000) * TICKS_A_NS)
/* The furthest into the future that anything is put off: 19 hours. */
#define FAR (UINT64_C(1) << 52)

__extension__ typedef unsigned __int128 wide;

static uint64_t ticks_for(uint64_t units, uint64_t rate)
{
	/* rounded up: nobody gets more than he should */
	wide ticks = ((wide)units * TICKS_A_SECOND + rate - 1) / rate;

	return ticks < FAR ? (uint64_t)ticks : FAR;
}

static void set(struct sw_bucket *bucket, uint64_t rate, uint64_t least)
{
	uint64_t burst = (uint64_t)BURST_NS * TICKS_A_NS;

	if (rate && ticks_for(least, rate) > burst)
		burst = ticks_for(least, rate);
	atomic_store_explicit(&bucket->burst, burst, memory_order_relaxed);
	atomic_store_explicit(&bucket->full_at, 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->rate, rate, memory_order_relaxed);
}

void sw_limit_set(struct sw_limit *limit, uint64_t bits_a_second, uint64_t frames_a_second)
{
	set(&limit->bits, bits_a_second, BURST_BITS);
	set(&limit->frames, frames_a_second, BURST_FRAMES);
}

/* How much there is; 0: nothing before *ret_ns, which is only ever moved to later. */
static uint64_t left(struct sw_bucket *bucket, uint64_t now_ns, uint64_t *ret_ns)
{
	uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
	uint64_t burst = atomic_load_explicit(&bucket->burst, memory_order_relaxed);
	uint64_t full_at = atomic_load_explicit(&bucket->full_at, memory_order_relaxed);
	uint64_t now = now_ns * TICKS_A_NS, empty_until;

	if (!rate)
		return UINT64_MAX;
	if (full_at <= now)
		full_at = now;
	if (full_at - now < burst)
		return (uint64_t)((wide)(burst - (full_at - now)) * rate / TICKS_A_SECOND);
	empty_until = (full_at - burst) / TICKS_A_NS + 1;
	if (empty_until > *ret_ns)
		*ret_ns = empty_until;
	return 0;
}

static void take(struct sw_bucket *bucket, uint64_t now_ns, uint64_t units)
{
	uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
	uint64_t now = now_ns * TICKS_A_NS;
	uint64_t old = atomic_load_explicit(&bucket->full_at, memory_order_relaxed), new;

	if (!rate)
		return;
	do {
		new = (old > now ? old : now) + ticks_for(units, rate);
		if (new > now + FAR)
			new = now + FAR;
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->full_at, &old, new, memory_order_relaxed, memory_order_relaxed));
}

unsigned int sw_limit_ask(struct sw_limit *limit, uint64_t now_ns, unsigned int max,
			  uint64_t *ret_ns)
{
	uint64_t until_ns = 0, bits = left(&limit->bits, now_ns, &until_ns);
	uint64_t frames = left(&limit->frames, now_ns, &until_ns);

	if (until_ns) {
		*ret_ns = until_ns;
		return 0;
	}
	/* Their size is not known yet: so many that one of the largest at most is too much. */
	bits = bits / FRAME_BITS + 1;
	if (frames > bits)
		frames = bits;
	if (!frames)
		frames = 1;
	return frames < max ? (unsigned int)frames : max;
}

void sw_limit_take(struct sw_limit *limit, uint64_t now_ns, uint64_t frames, uint64_t bytes)
{
	take(&limit->bits, now_ns, bytes * 8);
	take(&limit->frames, now_ns, frames);
}
