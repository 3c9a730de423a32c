/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The parts that vhu bench's word rests on: frames, numbers, rates, percentiles, the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/clock.h"
#include "bench/hist.h"
#include "bench/rate.h"
#include "bench/track.h"
#include "bench/traffic.h"
#include "bench/verify.h"

static const uint8_t src[6] = { 2, 0, 0, 0, 0, 1 }, dst[6] = { 2, 0, 0, 0, 0, 2 };

/* A flow, and a frame of it as a receiver gets it: a head and pieces of odd lengths. */
struct lab {
	struct traffic traffic;
	struct traffic_flow flow;
	struct verify verify;
	uint8_t bytes[VHU_NET_FRAME_MAX];
	struct iovec iov[512];
	struct vhu_net_frame frame;
};

static struct lab *lab_new(struct traffic_options options)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	options.run = 77;
	assert_int_equal(traffic_init(&lab->traffic, &options), 0);
	traffic_flow_init(&lab->flow, &lab->traffic, 5, src, dst);
	verify_init(&lab->verify, &lab->traffic, false);
	return lab;
}

static void lab_free(struct lab *lab)
{
	verify_fini(&lab->verify);
	traffic_fini(&lab->traffic);
	free(lab);
}

static void cut_up(struct lab *lab, uint32_t len, uint32_t piece)
{
	uint32_t at = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;

	lab->frame.len = len;
	lab->frame.head = lab->bytes;
	lab->frame.head_len = (uint16_t)at;
	lab->frame.iov = lab->iov;
	lab->frame.nr_iov = 0;
	while (at < len) {
		uint32_t part = len - at < piece ? len - at : piece;

		lab->iov[lab->frame.nr_iov++] = (struct iovec){ lab->bytes + at, part };
		at += part;
	}
}

static uint32_t make(struct lab *lab, uint32_t piece)
{
	uint32_t len = traffic_make(&lab->flow, lab->bytes, &lab->frame.hdr);

	cut_up(lab, len, piece);
	return len;
}

static void frames_of_all_sizes_are_known_again(void **state)
{
	static const uint32_t sizes[] = { 64, 65, 255, 256, 257, 570, 1514, 1518, 9000, 65535, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (unsigned int vlan = 0; vlan < 8; vlan += 7) {
			struct lab *lab = lab_new((struct traffic_options){
				.size = sizes[i], .with_pattern = true, .vlan = vlan });

			for (unsigned int k = 0; k < 24; k++) {
				uint32_t len = make(lab, 1000 + 7 * k);

				assert_true(sizes[i] ? len == sizes[i] : len >= 64 && len <= 1518);
				verify_frame(&lab->verify, &lab->frame);
			}
			assert_int_equal(lab->verify.cells, 24);
			assert_int_equal(lab->verify.corrupt, 0);
			assert_int_equal(lab->verify.foreign, 0);
			lab_free(lab);
		}
	}
}

static void a_changed_byte_anywhere_behind_the_addresses_is_found(void **state)
{
	struct lab *lab = lab_new((struct traffic_options){ .size = 1000, .with_pattern = true });
	uint32_t len = make(lab, 301);

	(void)state;
	for (uint32_t at = 14; at < len; at++) {
		uint64_t before = lab->verify.cells;

		/* the UDP header has a checksum of 0: nobody vouches for it */
		if (at >= 34 && at < 42)
			continue;
		lab->bytes[at] ^= 0x10;
		verify_frame(&lab->verify, &lab->frame);
		lab->bytes[at] ^= 0x10;
		assert_int_equal(lab->verify.cells, before);
		assert_int_equal(lab->verify.corrupt + lab->verify.foreign,
				 at - 14 + 1 - (at >= 42 ? 8 : 0));
	}
	lab_free(lab);
}

static void a_frame_of_another_length_is_found(void **state)
{
	struct lab *lab = lab_new((struct traffic_options){ .size = 600, .with_pattern = true });

	(void)state;
	make(lab, 4096);
	cut_up(lab, 599, 4096);
	verify_frame(&lab->verify, &lab->frame);
	cut_up(lab, 601, 4096);
	verify_frame(&lab->verify, &lab->frame);
	assert_int_equal(lab->verify.corrupt, 2);
	assert_int_equal(lab->verify.cells, 0);
	lab_free(lab);
}

static int emit(void *arg, const struct vhu_net_frame *frame)
{
	verify_frame(arg, frame);
	return 0;
}

static void a_frame_to_be_cut_is_known_whole_and_in_segments(void **state)
{
	static const uint32_t caps[] = { VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4, VHU_NET_CAP_CSUM, 0 };

	(void)state;
	for (uint32_t size = 65535; size > 65535 - 40; size--) {
		struct lab *lab = lab_new((struct traffic_options){
			.size = size, .is_tso = true, .with_pattern = true });
		unsigned int cells = 0;

		for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
			make(lab, 4000);
			cells += lab->traffic.nr_cells;
			if (vhu_net_fits(&lab->frame, caps[i]))
				verify_frame(&lab->verify, &lab->frame);
			else
				assert_int_equal(
					vhu_net_fit(&lab->frame, caps[i], emit, &lab->verify), 0);
			assert_int_equal(lab->verify.cells, cells);
			assert_int_equal(lab->verify.corrupt, 0);
		}
		lab_free(lab);
	}
}

static void frames_of_others_are_foreign(void **state)
{
	struct lab *lab = lab_new((struct traffic_options){ .size = 64, .with_pattern = true });

	(void)state;
	memset(lab->bytes, 0xff, 64);
	cut_up(lab, 64, 4096);
	verify_frame(&lab->verify, &lab->frame);
	cut_up(lab, 14, 4096);
	verify_frame(&lab->verify, &lab->frame);
	assert_int_equal(lab->verify.foreign, 2);
	/* another run's, where only our own count */
	lab->verify.own_only = true;
	make(lab, 4096);
	verify_frame(&lab->verify, &lab->frame);
	assert_int_equal(lab->verify.foreign, 3);
	assert_int_equal(lab->verify.cells, 0);
	lab_free(lab);
}

static void a_sender_without_pattern_is_no_corruption(void **state)
{
	struct lab *plain = lab_new((struct traffic_options){ .size = 500 });
	struct lab *lab = lab_new((struct traffic_options){ .size = 500, .with_pattern = true });

	(void)state;
	memset(plain->bytes, 0xa5, sizeof(plain->bytes));
	make(plain, 4096);
	verify_frame(&lab->verify, &plain->frame);
	assert_int_equal(lab->verify.corrupt, 0);
	assert_int_equal(lab->verify.cells, 1);
	assert_int_equal(lab->verify.plain, 1);
	lab_free(plain);
	lab_free(lab);
}

static void loss_duplicates_and_reordering_are_told_apart(void **state)
{
	static struct track track;

	(void)state;
	track_begin(&track, 0);
	for (uint64_t i = 0; i < 300000; i++)
		if (i % 1000 != 999)
			assert_true(track_add(&track, i));
	assert_int_equal(track_missing(&track), 299); /* the last is not missed yet */
	assert_int_equal(track.duplicates, 0);
	assert_int_equal(track.reordered, 0);
	assert_false(track_add(&track, 299500));
	assert_true(track_add(&track, 298999));
	assert_false(track_add(&track, 298999));
	assert_false(track_add(&track, 999)); /* so late that nobody knows */
	assert_int_equal(track.duplicates, 3);
	assert_int_equal(track.reordered, 1);
	assert_int_equal(track_missing(&track), 298);
	/* a leap forgets the window, not the count */
	assert_true(track_add(&track, 10000000));
	assert_int_equal(track_missing(&track), 10000001 - 299700 - 2);
	assert_true(track_add(&track, 9999999));
	assert_false(track_add(&track, 9999999));
}

static void a_flow_counts_from_the_first_that_came(void **state)
{
	static struct track track;

	(void)state;
	track_begin(&track, 70001);
	assert_true(track_add(&track, 70001));
	assert_true(track_add(&track, 70003));
	assert_int_equal(track_missing(&track), 1);
	assert_false(track_add(&track, 70000));
	assert_int_equal(track_missing(&track), 1);
}

static void rates_are_understood(void **state)
{
	static const char *const wrong[] = { "",       "10",	 "pps",	  "10k",
					     "-1pps",  "1e3pps", "0pps",  "1.pps2",
					     "10tpps", "1 kpps", "0.1pps" };
	struct rate rate;

	(void)state;
	assert_true(rate_parse("10kpps", &rate));
	assert_int_equal(rate.per_s, 10000);
	assert_false(rate.is_bits);
	assert_true(rate_parse("2.5gbit", &rate));
	assert_int_equal(rate.per_s, 2500000000);
	assert_true(rate.is_bits);
	assert_true(rate_parse("3Mpps", &rate));
	assert_int_equal(rate.per_s, 3000000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(rate_parse(wrong[i], &rate));
}

static uint64_t run_bucket(struct rate rate, uint32_t len, uint64_t step_ns, uint64_t end_ns)
{
	struct bucket bucket = { .rate = rate };
	uint64_t nr = 0;

	for (uint64_t now = step_ns; now <= end_ns; now += step_ns) {
		bucket_fill(&bucket, now);
		for (; bucket_may(&bucket); nr++)
			bucket_take(&bucket, len);
	}
	return nr;
}

static void a_rate_is_kept_and_a_pause_is_no_reason_for_a_flood(void **state)
{
	struct rate kpps = { .per_s = 1000 }, gbit = { .per_s = 1000000000, .is_bits = true };
	struct bucket bucket = { .rate = kpps };
	uint64_t nr;

	(void)state;
	nr = run_bucket(kpps, 64, 10000, 10 * LOOP_S);
	assert_in_range(nr, 9990, 10010);
	nr = run_bucket(gbit, 1250, 10000, LOOP_S);
	assert_in_range(nr, 99900, 100100);
	bucket_fill(&bucket, 1);
	bucket_fill(&bucket, 60 * LOOP_S);
	for (nr = 0; bucket_may(&bucket); nr++)
		bucket_take(&bucket, 64);
	assert_in_range(nr, 1, 6);
	/* and what it says to wait is enough */
	bucket_fill(&bucket, 60 * LOOP_S + bucket_wait_ns(&bucket));
	assert_true(bucket_may(&bucket));
}

static void percentiles_are_within_two_percent(void **state)
{
	static struct hist hist;
	static const double shares[] = { 0.01, 0.5, 0.9, 0.99, 0.999, 1 };

	(void)state;
	assert_int_equal(hist_percentile(&hist, 0.5), 0);
	for (uint64_t i = 1; i <= 1000000; i++)
		hist_add(&hist, i);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		uint64_t exact = (uint64_t)(shares[i] * 1000000);

		assert_in_range(hist_percentile(&hist, shares[i]), exact - exact / 50,
				exact + exact / 50);
	}
	assert_int_equal(hist.min, 1);
	assert_int_equal(hist.max, 1000000);
	hist_add(&hist, UINT64_MAX);
	assert_int_equal(hist_percentile(&hist, 1), UINT64_MAX);
}

static void the_clock_stands_still_while_nobody_looks(void **state)
{
	struct bench_clock clock = { 0 };
	uint64_t first = bench_clock_now(&clock), second;

	(void)state;
	/* as if the last look had been some seconds ago; the machine may have run for no longer */
	clock.last_ns -= 5 * LOOP_S;
	second = bench_clock_now(&clock);
	assert_true(clock.stopped_ns >= 5 * LOOP_S);
	assert_true(second <= first);
	/* a short stop is known by its signal */
	assert_int_equal(bench_clock_begin(), 0);
	clock.last_ns -= 50 * LOOP_MS;
	raise(SIGCONT);
	first = bench_clock_now(&clock);
	assert_true(first <= second);
	second = first;
	assert_true(bench_clock_now(&clock) - second < 60 * LOOP_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_all_sizes_are_known_again),
		cmocka_unit_test(a_changed_byte_anywhere_behind_the_addresses_is_found),
		cmocka_unit_test(a_frame_of_another_length_is_found),
		cmocka_unit_test(a_frame_to_be_cut_is_known_whole_and_in_segments),
		cmocka_unit_test(frames_of_others_are_foreign),
		cmocka_unit_test(a_sender_without_pattern_is_no_corruption),
		cmocka_unit_test(loss_duplicates_and_reordering_are_told_apart),
		cmocka_unit_test(a_flow_counts_from_the_first_that_came),
		cmocka_unit_test(rates_are_understood),
		cmocka_unit_test(a_rate_is_kept_and_a_pause_is_no_reason_for_a_flood),
		cmocka_unit_test(percentiles_are_within_two_percent),
		cmocka_unit_test(the_clock_stands_still_while_nobody_looks),
	};

	return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
