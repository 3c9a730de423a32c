/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* IN_ORDER: one used entry for a burst where that is right, in either layout. */
#include "packed_fixture.h"

static void in_order_transmission_is_told_once_a_burst(void **state)
{
	uint8_t frame[100] = { 0 };

	packed_running(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, 23,
		       VHU_MASK(VHU_F_IN_ORDER_BIT), 0);
	for (unsigned int round = 0; round < 40; round++) {
		struct drv_layout layout = { .nr = 1, .cut = { 12 } };
		uint16_t at = tx->used;
		uint64_t addr[14];
		int id = -1;

		for (unsigned int i = 0; i < 7; i++)
			id = dp_net_add(tx, frame, sizeof(frame), &layout);
		for (unsigned int i = 0; i < 14; i++)
			memcpy(&addr[i],
			       (const uint8_t *)&tx->desc[dp_advance(at, i, 23) & 0x7fff] + 8, 8);
		packed_pull_all();
		/* One descriptor, at the place of the first, with the id of the last; no other. */
		assert_int_equal(dp_at(tx, at).id, id);
		assert_int_equal(dp_at(tx, at).flags, packed_used_flags(at, false));
		for (unsigned int i = 1; i < 14; i++)
			assert_memory_equal(
				(const uint8_t *)&tx->desc[dp_advance(at, i, 23) & 0x7fff] + 8,
				&addr[i], 8);
		assert_int_equal(dp_net_reap(tx), 7);
		assert_int_equal(tx->used, dp_advance(at, 14, 23));
	}
	assert_int_equal(dp_stop_ring(tx), packed_base(tx->used));
}

static void in_order_reception_is_told_one_by_one(void **state)
{
	struct vhu_queue *queue;
	uint8_t frame[100] = { 0 };

	packed_running(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, 23,
		       VHU_MASK(VHU_F_IN_ORDER_BIT), 0);
	queue = vhu_backend_queue(p->fix.backend, 0);
	for (unsigned int round = 0; round < 20; round++) {
		uint16_t at = rx->used;

		dp_net_fill(rx, 9, 300);
		for (unsigned int i = 0; i < 9; i++)
			packed_push(frame, sizeof(frame));
		assert_int_equal(vhu_net_commit(queue), 0);
		for (unsigned int i = 0; i < 9; i++) {
			uint32_t token, len;

			assert_int_equal(dp_at(rx, dp_advance(at, i, 23)).id,
					 rx->fifo[rx->fifo_out % 23]);
			assert_int_equal(dp_pop(rx, &token, &len), 1);
			assert_int_equal(len, 112);
		}
	}
}

/*
 * What we were to write and did not is no part of a batch: it would count as written. A burst with
 * such a chain among the others, which no driver makes, is told one by one.
 */
static void unwritten_buffers_are_no_part_of_a_batch(void **state)
{
	struct drv_seg seg = { 0, 100, true };
	uint8_t frame[100] = { 0 };
	uint16_t at;

	packed_running(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, 23,
		       VHU_MASK(VHU_F_IN_ORDER_BIT), 0);
	at = tx->used;
	seg.gpa = tx->buf_gpa;
	for (unsigned int i = 0; i < 6; i++) {
		if (i == 3)
			assert_true(dp_put(tx, &seg, 1, 0) >= 0);
		else
			assert_true(dp_net_add(tx, frame, sizeof(frame), NULL) >= 0);
	}
	packed_pull_all();
	for (uint16_t i = 0; i < 6; i++)
		assert_int_equal(dp_at(tx, dp_advance(at, i, 23)).id, tx->fifo[i]);
	assert_int_equal(dp_net_reap(tx), 6);
}

static void split_ring_in_order_is_told_once_a_burst(void **state)
{
	uint8_t frame[100] = { 0 };
	struct drv_ring *ring;

	p = pair_up(state, &(struct fixture_options){ .mode = FIXTURE_IDLE },
		    &(struct drv_options){ .ring_size = 16, .need_reply = true });
	drv_negotiate(&p->drv);
	for (unsigned int i = 0; i < 2; i++)
		drv_enable_ring(&p->drv, i, true);
	drv_set_all_features(&p->drv, p->drv.offered & ~(VHU_MASK(VHU_F_LOG_ALL_BIT) |
							 VHU_MASK(VHU_F_RING_PACKED_BIT)));
	drv_set_mem(&p->drv);
	ring = &p->drv.ring[1];
	for (unsigned int i = 0; i < 2; i++)
		drv_start_ring(&p->drv, i, 0);
	drv_check_in_step(&p->drv);
	for (unsigned int round = 0; round < 40; round++) {
		uint16_t idx = drv_ring_used_idx(ring);
		struct drv_used_elem elem;
		int head = -1;

		memset((uint8_t *)ring->used + 4, 0xee, 8 * 16);
		for (unsigned int i = 0; i < 7; i++)
			head = drv_net_add(&p->drv, 1, frame, sizeof(frame), NULL);
		drv_ring_publish(ring);
		packed_pull_all();
		assert_int_equal(drv_ring_used_idx(ring), (uint16_t)(idx + 7));
		elem = drv_ring_used_elem(ring, idx);
		assert_int_equal(elem.id, head);
		assert_int_equal(elem.len, 0);
		for (uint16_t i = 1; i < 16; i++)
			assert_int_equal(drv_ring_used_elem(ring, (uint16_t)(idx + i)).id,
					 0xeeeeeeee);
		/* taken back by hand, all at once */
		drv_ring_reset(ring);
		ring->avail_idx = ring->published = ring->used_idx = (uint16_t)(idx + 7);
		drv_ring_publish(ring);
		ring->used[1] = (uint16_t)(idx + 7);
	}
	assert_int_equal(drv_stop_ring(&p->drv, 1), 280);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(in_order_transmission_is_told_once_a_burst),
		packed_test(in_order_reception_is_told_one_by_one),
		packed_test(unwritten_buffers_are_no_part_of_a_batch),
		packed_test(split_ring_in_order_is_told_once_a_burst),
	};

	return cmocka_run_group_tests_name("in order", tests, NULL, NULL);
}
