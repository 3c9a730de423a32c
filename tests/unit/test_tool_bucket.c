/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* How much may be taken and when, with a clock of the test's own. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "switch/bucket.h"

enum {
	BURST = 32,
	NR_THREADS = 4,
	NR_TAKES = 20000,
};

#define SECOND UINT64_C(1000000000)

/* Begins late, as a machine's clock does. */
#define BEGIN (SECOND * 86400 * 365)

struct taken {
	uint64_t frames, bytes;
};

/* For so many seconds as much as is allowed, in bursts, by somebody who comes by when told to. */
static struct taken take_all(struct sw_limit *limit, uint64_t seconds, uint32_t len)
{
	struct taken taken = { 0 };
	uint64_t now_ns = BEGIN;

	while (now_ns < BEGIN + seconds * SECOND) {
		uint64_t until_ns = 0;
		unsigned int nr = sw_limit_ask(limit, now_ns, BURST, &until_ns);

		assert_true(nr <= BURST);
		if (!nr) {
			assert_true(until_ns > now_ns);
			/* Not sooner than a millisecond later. */
			now_ns = until_ns > now_ns + 1000000 ? until_ns : now_ns + 1000000;
			continue;
		}
		sw_limit_take(limit, now_ns, nr, (uint64_t)nr * len);
		taken.frames += nr;
		taken.bytes += (uint64_t)nr * len;
		now_ns += 1000;
	}
	return taken;
}

static void without_a_limit_all_may_be_taken(void **state)
{
	struct sw_limit limit = { 0 };
	uint64_t until_ns;

	(void)state;
	sw_limit_set(&limit, 0, 0);
	assert_false(sw_limit_is_on(&limit));
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(sw_limit_ask(&limit, BEGIN, BURST, &until_ns), BURST);
		sw_limit_take(&limit, BEGIN, BURST, BURST * 65536);
	}
}

static void in_the_long_run_the_rate_is_kept_and_used(void **state)
{
	static const uint64_t rates[] = { 1000000, 64000000, UINT64_C(1000000000),
					  UINT64_C(40000000000) };
	static const uint32_t sizes[] = { 60, 1514, 65536 };

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int k = 0; k < 3; k++) {
			struct sw_limit limit = { 0 };
			uint64_t fair = rates[i] * 10 / 8, burst = rates[i] / 100 / 8 + 131072;
			uint64_t most = (uint64_t)BURST * sizes[k] * 1000000 * 10;
			struct taken taken;

			sw_limit_set(&limit, rates[i], 0);
			taken = take_all(&limit, 10, sizes[k]);
			assert_true(taken.bytes <= fair + burst + 65536);
			/* Nobody can take more than comes by in ten seconds, a microsecond each time. */
			if (fair < most / 64)
				assert_true(taken.bytes >= fair - fair / 100);
		}
	}
}

static void frames_are_limited_whatever_their_size(void **state)
{
	static const uint64_t rates[] = { 1, 50, 1000, 1000000 };

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct sw_limit limit = { 0 };
		uint64_t burst = rates[i] / 100 > BURST ? rates[i] / 100 : BURST;
		struct taken taken;

		sw_limit_set(&limit, 0, rates[i]);
		taken = take_all(&limit, 10, 65536);
		assert_in_range(taken.frames, rates[i] * 10 - rates[i] / 10,
				rates[i] * 10 + burst + 1);
	}
}

static void of_two_limits_the_tighter_counts(void **state)
{
	struct sw_limit limit = { 0 };
	struct taken taken;

	(void)state;
	sw_limit_set(&limit, 8 * 1000 * 1000, 100);
	taken = take_all(&limit, 10, 100);
	assert_in_range(taken.frames, 990, 1000 + BURST + 1);
	sw_limit_set(&limit, 8 * 1000 * 1000, 1000000);
	taken = take_all(&limit, 10, 1000);
	assert_in_range(taken.frames, 9900, 10000 + 131 + 66);
}

static void what_was_taken_too_much_is_waited_for(void **state)
{
	struct sw_limit limit = { 0 };
	uint64_t until_ns = 0;

	(void)state;
	sw_limit_set(&limit, 8 * 65536, 0); /* a large frame a second, two in a full bucket */
	assert_int_equal(sw_limit_ask(&limit, BEGIN, BURST, &until_ns), 3);
	sw_limit_take(&limit, BEGIN, 5, 5 * 65536);
	assert_int_equal(sw_limit_ask(&limit, BEGIN, BURST, &until_ns), 0);
	assert_in_range(until_ns, BEGIN + 3 * SECOND, BEGIN + 3 * SECOND + 1000);
	assert_int_equal(sw_limit_ask(&limit, until_ns - 1000, BURST, &until_ns), 0);
	assert_int_equal(sw_limit_ask(&limit, until_ns + 1, BURST, &until_ns), 1);
	/* A new rate is a new beginning. */
	sw_limit_take(&limit, BEGIN, 1000, 1000 * 65536);
	sw_limit_set(&limit, 8 * 65536, 0);
	assert_int_equal(sw_limit_ask(&limit, BEGIN, BURST, &until_ns), 3);
}

struct taker {
	pthread_t thread;
	struct sw_limit *limit;
};

static void *take_often(void *arg)
{
	const struct taker *taker = arg;

	for (int i = 0; i < NR_TAKES; i++)
		sw_limit_take(taker->limit, BEGIN, 1, 100);
	return NULL;
}

static void what_several_take_at_once_is_all_counted(void **state)
{
	struct taker takers[NR_THREADS];
	struct sw_limit limit = { 0 };
	uint64_t until_ns = 0;

	(void)state;
	sw_limit_set(&limit, 0, 1000);
	for (int i = 0; i < NR_THREADS; i++) {
		takers[i].limit = &limit;
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_often, &takers[i]),
				 0);
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(takers[i].thread, NULL);
	assert_int_equal(sw_limit_ask(&limit, BEGIN, BURST, &until_ns), 0);
	/* A millisecond each, but for those of the first burst. */
	assert_in_range(until_ns, BEGIN + UINT64_C(1000000) * (NR_THREADS * NR_TAKES - BURST),
			BEGIN + UINT64_C(1000000) * (NR_THREADS * NR_TAKES - BURST) + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_all_may_be_taken),
		cmocka_unit_test(in_the_long_run_the_rate_is_kept_and_used),
		cmocka_unit_test(frames_are_limited_whatever_their_size),
		cmocka_unit_test(of_two_limits_the_tighter_counts),
		cmocka_unit_test(what_was_taken_too_much_is_waited_for),
		cmocka_unit_test(what_several_take_at_once_is_all_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
