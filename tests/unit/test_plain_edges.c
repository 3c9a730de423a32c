/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Chains and rings at the edge of what is taken many at a time: too long, too old, too small. */
#include <errno.h>

#include <vhu/net.h>

#include "plain_world.h"

static const uint64_t plain_features = VHU_MASK(VHU_F_VERSION_1_BIT);

static void put_one(struct plain_world *w, uint32_t len, bool write)
{
	struct vhu_desc one = { .addr = pw_buffer(w),
				.len = len,
				.flags = write ? VHU_DESC_F_WRITE : 0 };

	pw_put(w, &one, 1, false);
}

/* A chain of nr pieces of the same kind, each so far behind the last. */
static void put_long(struct plain_world *w, uint32_t nr, struct vhu_desc piece, uint32_t stride,
		     bool indirect)
{
	struct vhu_desc *list = calloc(nr, sizeof(*list));

	assert_non_null(list);
	for (uint32_t i = 0; i < nr; i++, piece.addr += stride)
		list[i] = piece;
	pw_put(w, list, nr, indirect);
	free(list);
}

/* An id that was in the first burst and in none since. */
static void an_old_stamp_is_none_when_they_go_round(void **state)
{
	struct plain_world *w = pw_new(false, 8, plain_features, false);
	struct vhu_net_burst *burst;

	(void)state;
	assert_int_equal(vhu_net_burst_new(&burst), 0);
	for (unsigned int round = 0; round < 3; round++) {
		/* one, one before they go round, then all others and the first once more */
		for (unsigned int i = 0; i < (round < 2 ? 1 : 7); i++)
			put_one(w, 100, false);
		assert_int_equal(vhu_net_pull(&w->q, burst, 32), round < 2 ? 1 : 7);
		vhu_net_done(&w->q, burst);
		if (!round)
			w->q.now = UINT16_MAX;
	}
	vhu_net_burst_free(burst);
	pw_free(w);
}

/* 1024 pieces of 4 MiB: one byte more than 32 bits hold. */
static void a_chain_longer_than_32_bits_hold_is_refused(void **state)
{
	struct vhu_net_burst *burst;

	(void)state;
	assert_int_equal(vhu_net_burst_new(&burst), 0);
	for (unsigned int kind = 0; kind < 4; kind++) {
		struct plain_world *w = pw_new(kind & 1, 2048, plain_features, false);

		put_long(w, 1024, (struct vhu_desc){ .len = PW_MEM_SIZE / 2 }, 0, kind & 2);
		assert_int_equal(vhu_net_pull(&w->q, burst, VHU_NET_BURST), 0);
		assert_int_equal(vhu_net_burst_drops(burst)[VHU_NET_DROP_BAD_CHAIN], 1);
		assert_int_equal(w->q.chain_fault, VHU_FAULT_LENGTH);
		vhu_net_done(&w->q, burst);
		pw_free(w);
	}
	vhu_net_burst_free(burst);
}

/* More pieces than a burst of pushed frames has room for, behind chains that have taken some. */
static void a_buffer_of_very_many_pieces_is_filled(void **state)
{
	static uint8_t bytes[100];
	const struct vhu_net_frame frame = { .len = 100, .head_len = 100, .head = bytes };
	const struct vhu_net_frame *const list[] = { &frame, &frame, &frame, &frame, &frame };

	(void)state;
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	for (uint32_t i = 0; i < 4 * 14; i++) {
		uint32_t kind = i % 4, nr = i / 4 < 13 ? 250 + i / 4 : 1024;
		struct plain_world *w = pw_new(kind & 1, 2048, plain_features, true);
		const uint64_t gpa = pw_buffer(w);

		for (unsigned int n = 0; n < 5; n++) {
			if (n == 3)
				/* one byte each, one behind the other */
				put_long(w, nr,
					 (struct vhu_desc){
						 .addr = gpa, .len = 1, .flags = VHU_DESC_F_WRITE },
					 1, kind & 2);
			else
				put_one(w, PW_BUFFER_MAX, true);
		}
		assert_int_equal(vhu_net_push_burst(&w->q, list, 5), 5);
		assert_int_equal(w->q.nr_shadow, 5);
		assert_int_equal(w->q.shadow[3].len, PW_HDR_LEN + sizeof(bytes));
		assert_memory_equal(pw_at(w, gpa) + PW_HDR_LEN, bytes, sizeof(bytes));
		pw_free(w);
	}
}

/* The last buffer there is, and too small: that is no full ring, which would be waited for. */
static void a_frame_too_big_for_the_last_buffer_is_told_from_a_full_ring(void **state)
{
	static const uint8_t bytes[100];
	const struct vhu_net_frame frame = { .len = 100, .head_len = 100, .head = bytes };

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct plain_world *w = pw_new(packed, 8, plain_features, true);

		assert_int_equal(vhu_net_push(&w->q, &frame), -ENOSPC);
		put_one(w, 50, true);
		assert_int_equal(vhu_net_push(&w->q, &frame), -EMSGSIZE);
		assert_int_equal(w->q.nr_shadow, 0);
		pw_free(w);
	}
}

/* 1024 pieces, of which one holds something: an indirect table behind the ring's. */
static void put_hollow(struct plain_world *w, uint32_t len)
{
	struct vhu_desc *table = (void *)pw_at(w, PW_TABLES_GPA);
	struct vhu_desc one = { .addr = PW_TABLES_GPA,
				.len = 1024 * sizeof(*table),
				.flags = VHU_DESC_F_INDIRECT };

	for (uint32_t i = 0; i < 1024; i++) {
		table[i] = (struct vhu_desc){ .addr = PW_BUFFERS_GPA,
					      .len = i == 1023 ? len : 0,
					      .flags = VHU_DESC_F_WRITE };
		if (w->packed)
			((struct vhu_packed_desc *)(void *)table)[i].flags = VHU_DESC_F_WRITE;
		else if (i < 1023)
			table[i] = (struct vhu_desc){ .addr = PW_BUFFERS_GPA,
						      .flags = VHU_DESC_F_WRITE | VHU_DESC_F_NEXT,
						      .next = (uint16_t)(i + 1) };
	}
	pw_put(w, &one, 1, false);
}

/* Whether its frames find room or not: what is walked for one receiver's sake has an end. */
static void a_receiver_of_hollow_chains_costs_so_much_and_no_more(void **state)
{
	static const uint8_t bytes[100];
	const struct vhu_net_frame frame = { .len = 100, .head_len = 100, .head = bytes };

	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		struct plain_world *w = pw_new(
			kind & 1, 256, plain_features | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT), true);
		const bool fits = kind & 2;
		int ret = 0, nr = 0;

		for (unsigned int i = 0; i < 200; i++)
			put_hollow(w, fits ? 40 : 4);
		for (; nr < 64 && ret != -EAGAIN; nr++) {
			ret = vhu_net_push(&w->q, &frame);
			assert_true(ret == -EAGAIN || ret == (fits ? 0 : -EMSGSIZE));
		}
		assert_in_range(nr, 3, 8);
		assert_int_equal(vhu_net_push(&w->q, &frame), -EAGAIN);
		assert_true(w->q.push_steps <= 4 * VHU_STEPS_MAX);
		/* and anew, once it had its chance to take what there is */
		assert_int_equal(vhu_net_commit(&w->q), 0);
		assert_int_equal(vhu_net_push(&w->q, &frame), fits ? 0 : -EMSGSIZE);
		vhu_net_rewind(&w->q);
		pw_free(w);
	}
}

/* Chains of very many pieces, each followed by a bad one that ends what is taken at once. */
static void a_pull_reads_so_many_descriptors_and_no_more(void **state)
{
	struct vhu_net_burst *burst;

	(void)state;
	assert_int_equal(vhu_net_burst_new(&burst), 0);
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct plain_world *w = pw_new(packed, 32768, plain_features, false);
		const uint32_t *drops = vhu_net_burst_drops(burst);
		struct vhu_desc bad = { .addr = PW_HOLE_GPA, .len = 100 };

		for (unsigned int i = 0; i < 16; i++) {
			put_long(w, 1000, (struct vhu_desc){ .addr = PW_BUFFERS_GPA, .len = 100 },
				 0, false);
			pw_put(w, &bad, 1, false);
		}
		assert_int_equal(vhu_net_pull(&w->q, burst, VHU_NET_BURST), 0);
		assert_int_equal(drops[VHU_NET_DROP_LONG], VHU_STEPS_MAX / 1000 + 1);
		vhu_net_done(&w->q, burst);
		pw_free(w);
	}
	vhu_net_burst_free(burst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_stamp_is_none_when_they_go_round),
		cmocka_unit_test(a_chain_longer_than_32_bits_hold_is_refused),
		cmocka_unit_test(a_buffer_of_very_many_pieces_is_filled),
		cmocka_unit_test(a_frame_too_big_for_the_last_buffer_is_told_from_a_full_ring),
		cmocka_unit_test(a_receiver_of_hollow_chains_costs_so_much_and_no_more),
		cmocka_unit_test(a_pull_reads_so_many_descriptors_and_no_more),
	};

	return cmocka_run_group_tests_name("plain edges", tests, NULL, NULL);
}
