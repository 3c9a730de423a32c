/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The packed ring: sizes, both wrap counters, order, tables, positions to go on from, batches. */
#include "packed_fixture.h"

static void send_all(unsigned int nr, const struct drv_layout *layout)
{
	uint8_t frame[64];
	unsigned int sent = 0, back = 0;
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;

	while (back < nr) {
		for (; sent < nr; sent++) {
			drv_net_make(frame, sizeof(frame), sent);
			if (dp_net_add(tx, frame, sizeof(frame), layout) < 0)
				break;
		}
		dp_kick(tx);
		fixture_pump(NULL);
		unsigned int some = dp_net_reap(tx);

		back += some;
		if (some)
			end = check_now_ms() + CHECK_PATIENCE_MS;
		assert_true(check_now_ms() < end);
	}
	assert_int_equal(fixture_frames(&p->fix), nr);
	assert_true(drv_net_verify(p->fix.last, p->fix.last_len, nr - 1));
}

static void receive_all(unsigned int nr)
{
	uint8_t frame[64], back[4096];
	size_t len;

	for (unsigned int i = 0; i < nr; i++) {
		dp_net_fill(rx, rx->num, DP_BUF);
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_int_equal(dp_net_receive(rx, back, sizeof(back), &len), 1);
		assert_int_equal(len, sizeof(frame));
		assert_true(drv_net_verify(back, len, i));
	}
}

static void any_number_is_a_size(void **state)
{
	static const unsigned int sizes[] = { 1,   2,	3,    5,    7,	   64,	 255,
					      256, 257, 1000, 1025, 32767, 32768 };

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned int nr = sizes[i] < 2000 ? 5 * sizes[i] + 1 : sizes[i] + 10;

		packed_mode(state, FIXTURE_SINK, sizes[i]);
		send_all(nr, NULL);
		receive_all(nr);
		assert_int_equal(p->fix.complaints, 0);
		assert_int_equal(dp_stop_ring(tx), packed_base(dp_advance(DP_FRESH, nr, sizes[i])));
		assert_int_equal(dp_stop_ring(rx), packed_base(dp_advance(DP_FRESH, nr, sizes[i])));
		packed_again(state);
	}
}

static void both_counters_wrap_many_times(void **state)
{
	static const uint64_t without[] = { 0, VHU_MASK(VHU_F_EVENT_IDX_BIT) };

	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int size = 1; size <= 6; size++) {
			packed_running(state, &(struct fixture_options){ .mode = FIXTURE_SINK },
				       size, 0, without[i]);
			send_all(5003, NULL);
			receive_all(5003);
			assert_int_equal(p->fix.complaints, 0);
			packed_again(state);
		}
	}
}

/* The other end of a chain may lie beyond the end of the ring. */
static void chains_cross_the_end_at_every_place(void **state)
{
	uint8_t frame[300];

	for (unsigned int size = 2; size <= 9; size++) {
		packed_mode(state, FIXTURE_SINK, size);
		for (unsigned int i = 0; i < 300; i++) {
			struct drv_layout layout = { .nr = i * 7 % size };
			uint16_t at = tx->used;

			for (unsigned int k = 0; k < layout.nr; k++)
				layout.cut[k] = 5;
			drv_net_make(frame, sizeof(frame), i);
			int id = dp_net_add(tx, frame, sizeof(frame), &layout);

			assert_true(id >= 0);
			dp_kick(tx);
			assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
			assert_int_equal(dp_at(tx, at).id, id);
			assert_int_equal(dp_at(tx, at).flags & DRV_DESC_WRITE, 0);
			assert_int_equal(dp_net_reap(tx), 1);
			assert_int_equal(tx->used, dp_advance(at, layout.nr + 1, size));
			assert_true(drv_net_verify(p->fix.last, sizeof(frame), i));
		}
		assert_int_equal(p->fix.complaints, 0);
		packed_again(state);
	}
}

static void chains_are_completed_in_the_order_of_available(void **state)
{
	uint8_t frame[200] = { 0 };
	int ids[40];

	packed_mode(state, FIXTURE_SINK, 67);
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int nr = 0;

		for (unsigned int i = 0; i < 40; i++) {
			struct drv_layout layout = { .nr = i % 3 ? 0 : 1,
						     .cut = { 12 },
						     .indirect = i % 4 == 0 };
			int id = dp_net_add(tx, frame, i % 5 ? sizeof(frame) : 1, &layout);

			if (id >= 0)
				ids[nr++] = id;
		}
		assert_true(nr > 30);
		dp_kick(tx);
		for (unsigned int i = 0; i < nr; i++) {
			uint32_t token, len;

			assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
			assert_int_equal(dp_at(tx, tx->used).id, ids[i]);
			assert_int_equal(dp_pop(tx, &token, &len), 1);
		}
	}
}

static void indirect_tables_of_all_lengths(void **state)
{
	uint8_t frame[400];

	packed_mode(state, FIXTURE_SINK, 3);
	for (unsigned int nr = 1; nr <= 60; nr++) {
		struct drv_layout layout = { .nr = nr - 1, .indirect = true };

		for (unsigned int i = 0; i < layout.nr; i++)
			layout.cut[i] = i == 0 ? 12 : 1 + i % 5;
		drv_net_make(frame, sizeof(frame), nr);
		assert_true(dp_net_add(tx, frame, sizeof(frame), &layout) >= 0);
		dp_kick(tx);
		assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
		assert_int_equal(dp_net_reap(tx), 1);
		assert_int_equal(p->fix.last_len, sizeof(frame));
		assert_true(drv_net_verify(p->fix.last, sizeof(frame), nr));
	}
	assert_int_equal(p->fix.complaints, 0);
}

/* As long as the ring may be a table, but no longer than 1024 is what is followed. */
static void table_of_more_than_1024_is_refused_in_a_large_ring(void **state)
{
	uint64_t table, gpa;

	packed_mode(state, FIXTURE_SINK, 2000);
	table = drv_mem_alloc(&p->drv.mem, 0, 2000 * sizeof(struct dp_desc), 16);
	gpa = drv_mem_alloc(&p->drv.mem, 0, 100, 16);
	for (unsigned int i = 0; i < 2000; i++) {
		struct dp_desc d = { gpa, i ? 0 : 100, 0, 0 };

		drv_mem_write(&p->drv.mem, table + i * sizeof(d), &d, sizeof(d));
	}
	for (uint32_t nr = 1023; nr < 1027; nr++) {
		dp_put_raw(tx,
			   &(struct dp_desc){ table, nr * (uint32_t)sizeof(struct dp_desc), 9,
					      DRV_DESC_INDIRECT },
			   1);
		dp_kick_always(tx);
		tx->nr_free = 0;
		assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
		dp_skip_used(tx, 1);
		assert_int_equal(fixture_frames(&p->fix), nr > 1024 ? 2 : nr - 1022);
	}
	fixture_check_reason(&p->fix, "ring 1|1024");
}

/*
 * ---- The used side ----
 */
/* A frame in several buffers, and several frames: nothing is seen before all of it is. */
static void merged_buffers_appear_together(void **state)
{
	struct vhu_queue *queue;
	uint8_t frame[1000], back[4096];
	size_t len;

	packed_mode(state, FIXTURE_IDLE, 11);
	queue = vhu_backend_queue(p->fix.backend, 0);
	drv_net_make(frame, sizeof(frame), 7);
	for (unsigned int round = 0; round < 50; round++) {
		uint16_t at = rx->used;

		/* 1012 bytes in four buffers of 300, a copy in four more */
		dp_net_fill(rx, 8, 300);
		packed_push(frame, sizeof(frame));
		packed_push(frame, sizeof(frame));
		for (unsigned int i = 0; i < 8; i++)
			assert_int_equal(dp_at(rx, dp_advance(at, i, rx->num)).flags &
						 (DP_USED | DP_AVAIL),
					 dp_advance(at, i, rx->num) & DP_WRAP ? DP_AVAIL : DP_USED);
		assert_false(dp_has_used(rx));
		assert_int_equal(vhu_net_commit(queue), 0);
		for (unsigned int i = 0; i < 8; i++) {
			uint16_t pos = dp_advance(at, i, rx->num);

			assert_int_equal(dp_at(rx, pos).flags, packed_used_flags(pos, true));
			assert_int_equal(dp_at(rx, pos).len, i % 4 < 3 ? 300 : 112);
		}
		for (unsigned int i = 0; i < 2; i++) {
			assert_int_equal(dp_net_receive(rx, back, sizeof(back), &len), 1);
			assert_int_equal(len, sizeof(frame));
			assert_true(drv_net_verify(back, len, 7));
		}
	}
}

static void what_is_taken_back_was_never_there(void **state)
{
	struct vhu_queue *queue;
	uint8_t frame[100] = { 0 };

	packed_mode(state, FIXTURE_IDLE, 5);
	queue = vhu_backend_queue(p->fix.backend, 0);
	for (unsigned int round = 0; round < 20; round++) {
		uint32_t token, len;

		dp_net_fill(rx, 5, 300);
		packed_push(frame, sizeof(frame));
		assert_int_equal(vhu_net_commit(queue), 0);
		for (unsigned int i = 0; i < 4; i++)
			packed_push(frame, sizeof(frame));
		vhu_net_rewind(queue);
		assert_int_equal(vhu_net_commit(queue), 0);
		assert_int_equal(dp_pop(rx, &token, &len), 1);
		assert_false(dp_has_used(rx));
	}
	assert_int_equal(dp_stop_ring(rx), packed_base(dp_advance(DP_FRESH, 20, 5)));
	assert_int_equal(p->fix.complaints, 0);
}

/*
 * ---- Positions to go on from ----
 */
static void stop_and_start_at_every_place(void **state)
{
	for (unsigned int how = 0; how < 2; how++) {
		packed_mode(state, FIXTURE_SINK, 5);
		for (unsigned int i = 0; i < 31; i++) {
			uint8_t frame[70];
			uint32_t base;

			drv_net_make(frame, sizeof(frame), i);
			assert_true(dp_net_add(tx, frame, sizeof(frame), NULL) >= 0);
			dp_kick(tx);
			assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
			assert_int_equal(dp_net_reap(tx), 1);
			base = dp_stop_ring(tx);
			assert_int_equal(base, packed_base(tx->used));
			/* a frontend that knows the lower half alone, as DPDK's backend answers */
			dp_start_ring(tx, how ? base & 0xffff : base);
			fixture_settle();
		}
		assert_int_equal(fixture_frames(&p->fix), 31);
		assert_int_equal(p->fix.complaints, 0);
		packed_again(state);
	}
}

/* What was available and not taken at a stop is served after the start, and only once. */
static void what_waits_at_a_stop_is_served_after_the_start(void **state)
{
	packed_mode(state, FIXTURE_SINK, 7);
	for (unsigned int i = 0; i < 30; i++) {
		uint8_t frame[70] = { 0 };
		uint32_t base = dp_stop_ring(tx);

		for (unsigned int k = 0; k < 4; k++)
			assert_true(dp_net_add(tx, frame, sizeof(frame), NULL) >= 0);
		assert_false(fixture_pump(NULL));
		assert_false(dp_has_used(tx));
		dp_start_ring(tx, base);
		/* no kick: a guest that goes on will not kick again */
		assert_true(
			check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 4 * (i + 1)));
		assert_int_equal(dp_net_reap(tx), 4);
	}
	assert_int_equal(p->fix.complaints, 0);
}

/* Where less is used than was taken, the used side goes on where it was. */
static void base_with_two_positions(void **state)
{
	uint8_t frame[70] = { 0 };
	uint16_t used = dp_advance(DP_FRESH, 3, 7), avail = dp_advance(DP_FRESH, 5, 7);
	uint32_t token, len;
	int id = 0;

	packed_mode(state, FIXTURE_SINK, 7);
	dp_stop_ring(tx);
	/* three used, two that somebody else still has */
	tx->used = used;
	tx->avail = avail;
	tx->nr_free = 5;
	id = dp_net_add(tx, frame, sizeof(frame), NULL);
	dp_start_ring(tx, (uint32_t)used << 16 | avail);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 1));
	assert_int_equal(dp_at(tx, used).id, id);
	assert_int_equal(dp_pop(tx, &token, &len), 1);
	assert_int_equal(dp_stop_ring(tx),
			 (uint32_t)dp_advance(used, 1, 7) << 16 | dp_advance(avail, 1, 7));
}

static void start_refused(uint32_t base)
{
	struct drv_ring *lent = &p->drv.ring[1];
	struct vhu_vring_state state = { 1, base };
	uint64_t index = 1;
	char words[64];

	fixture_forget_reasons(&p->fix);
	assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_BASE, &state, sizeof(state), NULL, 0), 0);
	assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_KICK, &index, 8, &lent->kick_fd, 1), 1);
	snprintf(words, sizeof(words), "ring 1|base 0x%x", base);
	fixture_check_reason(&p->fix, words);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_ENABLED);
	drv_check_in_step(&p->drv);
}

static void base_beyond_the_ring_is_refused_at_the_start(void **state)
{
	static const uint32_t
		bases[] = { 7,		0x8007,	    0x7fff,
			    0xffff,	0x80078000, 0x00078000,
			    0xffffffff, 0x7fff8000, 0x80058002 /* nearly two rounds apart */,
			    0x80010002 /* the same, wrapped */ };

	packed_mode(state, FIXTURE_SINK, 7);
	dp_stop_ring(tx);
	for (unsigned int i = 0; i < sizeof(bases) / sizeof(bases[0]); i++)
		start_refused(bases[i]);
	dp_start_ring(tx, packed_base(DP_FRESH));
	send_all(20, NULL);
}

static void size_is_judged_by_the_layout(void **state)
{
	static const uint32_t bad[] = { 0, 32769, 65536, UINT32_MAX };
	struct vhu_vring_state ring = { 1, 0 };
	uint64_t index = 1;

	packed_mode(state, FIXTURE_SINK, 1000);
	dp_stop_ring(rx);
	dp_stop_ring(tx);
	for (unsigned int i = 0; i < 4; i++) {
		ring.num = bad[i];
		assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0),
				 1);
	}
	/* The size stays, the layout goes. */
	drv_do_u64(&p->drv, VHU_SET_FEATURES, p->drv.features & ~VHU_MASK(VHU_F_RING_PACKED_BIT));
	drv_do_state(&p->drv, VHU_SET_VRING_BASE, 1, 0);
	assert_int_equal(
		drv_ack(&p->drv, VHU_SET_VRING_KICK, &index, 8, &p->drv.ring[1].kick_fd, 1), 1);
	fixture_check_reason(&p->fix, "ring 1|1000|power of two");
	ring.num = 1000;
	assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0), 1);
	drv_check_in_step(&p->drv);
}

static void start_at(const struct vhu_vring_addr *addr, const char *words)
{
	uint64_t index = 1;
	int ret;

	fixture_forget_reasons(&p->fix);
	ret = drv_ack(&p->drv, VHU_SET_VRING_ADDR, addr, sizeof(*addr), NULL, 0);
	if (!ret)
		ret = drv_ack(&p->drv, VHU_SET_VRING_KICK, &index, 8, &p->drv.ring[1].kick_fd, 1);
	assert_int_equal(ret, words ? 1 : 0);
	if (words)
		fixture_check_reason(&p->fix, words);
	if (!ret)
		dp_stop_ring(tx);
}

/* Each part's whole length has to be there; that of the event areas is 4 bytes. */
static void parts_lie_in_memory_and_aligned(void **state)
{
	struct vhu_vring_addr good, addr;
	const struct drv_region *last;
	uint64_t end;

	packed_mode(state, FIXTURE_SINK, 10);
	last = &p->drv.mem.region[1];
	end = last->uva + last->size;
	dp_stop_ring(tx);
	drv_do_state(&p->drv, VHU_SET_VRING_BASE, 1, packed_base(DP_FRESH));
	dp_fill_addr(tx, &good);
	addr = good;
	addr.desc = end - 160;
	addr.avail = end - 164;
	addr.used = end - 168;
	start_at(&addr, NULL);
	addr.desc = good.desc;
	addr.avail = end - 4;
	start_at(&addr, NULL);
	addr.avail = good.avail;
	addr.used = end - 4;
	start_at(&addr, NULL);
	addr = good;
	addr.desc = end - 144;
	start_at(&addr, "desc");
	addr = good;
	addr.avail += 2;
	start_at(&addr, "avail");
	addr = good;
	addr.used += 2;
	start_at(&addr, "used");
	addr = good;
	addr.avail = end;
	start_at(&addr, "avail");
	addr = good;
	addr.used = end;
	start_at(&addr, "used");
	start_at(&good, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(any_number_is_a_size),
		packed_test(both_counters_wrap_many_times),
		packed_test(chains_cross_the_end_at_every_place),
		packed_test(chains_are_completed_in_the_order_of_available),
		packed_test(indirect_tables_of_all_lengths),
		packed_test(table_of_more_than_1024_is_refused_in_a_large_ring),
		packed_test(merged_buffers_appear_together),
		packed_test(what_is_taken_back_was_never_there),
		packed_test(stop_and_start_at_every_place),
		packed_test(what_waits_at_a_stop_is_served_after_the_start),
		packed_test(base_with_two_positions),
		packed_test(base_beyond_the_ring_is_refused_at_the_start),
		packed_test(size_is_judged_by_the_layout),
		packed_test(parts_lie_in_memory_and_aligned),
	};

	return cmocka_run_group_tests_name("packed ring", tests, NULL, NULL);
}
