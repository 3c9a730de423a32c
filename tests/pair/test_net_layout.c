/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Frames and their headers: any layout of descriptors, both header sizes, merged receive buffers. */
#include <unistd.h>

#include "backend_fixture.h"

static const uint64_t version_1 = VHU_MASK(VHU_F_VERSION_1_BIT);
static const uint64_t mergeable = VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);

static struct pair *running(void **state, const struct drv_options *options)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .mode = FIXTURE_SINK }, options);

	drv_start(&p->drv);
	return p;
}

static void send_and_compare(struct pair *p, size_t len, uint32_t number,
			     const struct drv_layout *layout)
{
	static uint8_t frame[1 << 17];
	uint64_t before = fixture_frames(&p->fix);

	drv_net_make(frame, len, number);
	assert_true(drv_net_add(&p->drv, 1, frame, len, layout) >= 0);
	drv_ring_kick(&p->drv.ring[1]);
	assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&p->drv.ring[1])));
	assert_int_equal(drv_net_reap(&p->drv, 1), 1);
	assert_int_equal(fixture_frames(&p->fix), before + 1);
	assert_int_equal(p->fix.last_len, len);
	assert_true(drv_net_verify(p->fix.last, len, number));
}

static void each_cut_of_header_and_frame(void **state)
{
	static const struct drv_layout layouts[] = {
		{ .nr = 0 },
		{ .nr = 1, .cut = { 12 } },
		{ .nr = 2, .cut = { 12, 14 } },
		{ .nr = 3, .cut = { 2, 3, 7 } },
		{ .nr = 3, .cut = { 11, 1, 14 } },
		{ .nr = 2, .cut = { 10, 16 } },
		{ .nr = 1, .cut = { 13 } },
		{ .nr = 1, .cut = { 26 } },
		{ .nr = 12, .cut = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
		{ .nr = 14, .cut = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
		{ .nr = 3, .cut = { 12, 255, 1 } },
		{ .nr = 3, .cut = { 12, 256, 1 } },
		{ .nr = 3, .cut = { 12, 257, 1 } },
	};
	static const size_t sizes[] = { 14, 15, 60, 255, 256, 257, 300, 1514 };
	struct pair *p = running(state, NULL);
	uint32_t number = 0;

	for (unsigned int i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		for (unsigned int j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			struct drv_layout layout = layouts[i];

			send_and_compare(p, sizes[j], number++, &layout);
			layout.indirect = true;
			send_and_compare(p, sizes[j], number++, &layout);
		}
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void header_has_the_size_that_was_agreed(void **state)
{
	static const struct {
		uint64_t no_features;
		unsigned int size;
	} rows[] = {
		{ 0, 12 },
		{ version_1, 12 },
		{ mergeable, 12 },
		{ version_1 | mergeable, 10 },
	};

	for (unsigned int i = 0; i < 4; i++) {
		struct pair *p =
			running(state, &(struct drv_options){ .no_features = rows[i].no_features });
		uint8_t frame[100], back[4096];
		struct drv_net_hdr hdr;
		size_t len;

		assert_int_equal(drv_net_hdr_size(&p->drv), rows[i].size);
		for (uint32_t n = 0; n < 20; n++)
			send_and_compare(p, 14 + n, n,
					 &(struct drv_layout){ .nr = 1, .cut = { n + 1 } });
		drv_net_fill(&p->drv, 0, 4);
		drv_net_make(frame, sizeof(frame), 3);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, &hdr), 1);
		assert_int_equal(len, sizeof(frame));
		assert_true(drv_net_verify(back, len, 3));
		assert_int_equal(hdr.flags, 0);
		assert_int_equal(hdr.gso_type, VHU_NET_GSO_NONE);
		pair_teardown(state);
		pair_setup(state);
	}
}

/* What the buffer has already need not be written again: it has to be told apart, byte by byte. */
static void header_is_right_whatever_the_buffer_held(void **state)
{
	static const uint64_t rows[] = { 0, VHU_MASK(VHU_F_VERSION_1_BIT) |
						    VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) };

	for (unsigned int row = 0; row < 2; row++) {
		struct pair *p = running(state, &(struct drv_options){ .no_features = rows[row] });
		struct drv_ring *ring = &p->drv.ring[0];
		const unsigned int size = drv_net_hdr_size(&p->drv);
		const struct vhu_net_hdr hdr = { .flags = VHU_NET_HDR_NEEDS_CSUM,
						 .csum_start = 34,
						 .csum_offset = 16 };
		const struct drv_net_hdr raw = { .flags = VHU_NET_HDR_NEEDS_CSUM,
						 .csum_start = 34,
						 .csum_offset = 16,
						 .num_buffers = 1 };
		uint8_t frame[100], back[4096], held[sizeof(raw)];
		size_t len;

		drv_net_make(frame, sizeof(frame), 3);
		/* each byte wrong in turn, and then none */
		for (unsigned int i = 0; i <= size; i++) {
			const uint32_t slot = ring->free_slot[ring->nr_free_slots - 1];
			const uint64_t gpa = ring->slots_gpa + (uint64_t)slot * ring->slot_size;

			memcpy(held, &raw, size);
			if (i < size)
				held[i] ^= 0x5a;
			drv_mem_write(&p->drv.mem, gpa, held, size);
			assert_int_equal(drv_net_fill(&p->drv, 0, 1), 1);
			assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), &hdr), 0);
			drv_mem_read(&p->drv.mem, gpa, held, size);
			assert_memory_equal(held, &raw, size);
			assert_int_equal(
				drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL), 1);
			assert_int_equal(len, sizeof(frame));
			assert_memory_equal(back, frame, sizeof(frame));
		}
		pair_teardown(state);
		pair_setup(state);
	}
}

static void frames_of_64_kib_pass(void **state)
{
	struct pair *p =
		running(state, &(struct drv_options){ .slot_size = 70000, .nr_slots = 16 });
	static uint8_t frame[VHU_NET_FRAME_MAX], back[VHU_NET_FRAME_MAX];
	struct drv_layout layout = { .nr = 18, .cut = { 12 } };
	size_t len;

	for (unsigned int i = 1; i < layout.nr; i++)
		layout.cut[i] = 4096;
	send_and_compare(p, 65550, 1, &layout);
	send_and_compare(p, VHU_NET_FRAME_MAX, 2, &layout);
	layout.indirect = true;
	send_and_compare(p, VHU_NET_FRAME_MAX, 3, &layout);
	drv_net_fill(&p->drv, 0, 4);
	drv_net_make(frame, sizeof(frame), 4);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL), 1);
	assert_int_equal(len, sizeof(frame));
	assert_true(drv_net_verify(back, len, 4));
}

static void too_short_and_too_long_are_dropped_and_given_back(void **state)
{
	struct pair *p =
		running(state, &(struct drv_options){ .slot_size = 70000, .nr_slots = 16 });
	static uint8_t frame[VHU_NET_FRAME_MAX + 1];

	for (size_t len = 0; len < 14; len++) {
		assert_true(drv_net_add(&p->drv, 1, frame, len, NULL) >= 0);
		drv_ring_kick(&p->drv.ring[1]);
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&p->drv.ring[1])));
		assert_int_equal(drv_net_reap(&p->drv, 1), 1);
	}
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_SHORT), 14);
	assert_true(drv_net_add(&p->drv, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_kick(&p->drv.ring[1]);
	assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&p->drv.ring[1])));
	assert_int_equal(drv_net_reap(&p->drv, 1), 1);
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_LONG), 1);
	assert_int_equal(fixture_frames(&p->fix), 0);
	send_and_compare(p, 100, 1, NULL);
}

static void header_fields_arrive_in_both_directions(void **state)
{
	struct pair *p = running(state, NULL);
	struct drv_net_hdr sent = {
		.flags = VHU_NET_HDR_NEEDS_CSUM,
		.gso_type = VHU_NET_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 500,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct vhu_net_hdr pushed = {
		.flags = VHU_NET_HDR_NEEDS_CSUM,
		.gso_type = VHU_NET_GSO_TCPV4,
		.hdr_len = 66,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
	};
	uint8_t frame[1400], back[4096];
	struct drv_net_hdr got;
	size_t len;

	send_and_compare(p, 1400, 1, &(struct drv_layout){ .nr = 0, .hdr = &sent });
	assert_int_equal(p->fix.last_hdr.flags, sent.flags);
	assert_int_equal(p->fix.last_hdr.gso_type, sent.gso_type);
	assert_int_equal(p->fix.last_hdr.gso_size, sent.gso_size);
	assert_int_equal(p->fix.last_hdr.csum_start, sent.csum_start);
	assert_int_equal(p->fix.last_hdr.csum_offset, sent.csum_offset);

	drv_net_fill(&p->drv, 0, 8);
	drv_net_make(frame, sizeof(frame), 9);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), &pushed), 0);
	assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, &got), 1);
	assert_int_equal(got.flags, pushed.flags);
	assert_int_equal(got.gso_type, pushed.gso_type);
	assert_int_equal(got.gso_size, pushed.gso_size);
	assert_int_equal(got.csum_start, pushed.csum_start);
	assert_int_equal(got.csum_offset, pushed.csum_offset);
	assert_int_equal(got.num_buffers, 1);
}

static void frame_goes_over_as_many_buffers_as_it_needs(void **state)
{
	static const uint32_t buffers[] = { 64, 128, 1000, 1526, 2048, 4096 };

	for (unsigned int i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
		struct pair *p = running(state, &(struct drv_options){ .slot_size = buffers[i],
								       .nr_slots = 250 });
		static uint8_t frame[9000], back[9000];
		struct drv_net_hdr hdr;
		uint16_t total = 0;

		for (size_t size = 60; size <= sizeof(frame); size += 331) {
			size_t want = (size + 12 + buffers[i] - 1) / buffers[i];
			size_t len;

			if (want > 200)
				break;
			drv_net_fill(&p->drv, 0, 256);
			drv_net_make(frame, size, (uint32_t)size);
			assert_int_equal(fixture_push(&p->fix, 0, frame, size, NULL), 0);
			total = (uint16_t)(total + want);
			assert_int_equal(drv_ring_used_idx(&p->drv.ring[0]), total);
			assert_int_equal(
				drv_net_receive(&p->drv, 0, back, sizeof(back), &len, &hdr), 1);
			assert_int_equal(hdr.num_buffers, want);
			assert_int_equal(len, size);
			assert_true(drv_net_verify(back, len, (uint32_t)size));
		}
		pair_teardown(state);
		pair_setup(state);
	}
}

static void too_few_buffers_leave_the_ring_as_it_was(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .slot_size = 256 });
	static uint8_t frame[4000], back[5000];
	size_t len;

	drv_net_make(frame, sizeof(frame), 5);
	assert_int_equal(fixture_push(&p->fix, 0, frame, 60, NULL), -ENOSPC);
	drv_net_fill(&p->drv, 0, 10);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), -ENOSPC);
	assert_int_equal(drv_ring_used_idx(&p->drv.ring[0]), 0);
	drv_net_fill(&p->drv, 0, 6);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL), 1);
	assert_int_equal(len, sizeof(frame));
	assert_true(drv_net_verify(back, len, 5));
}

static void without_mergeable_one_buffer_takes_all_or_nothing(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .slot_size = 1526,
							       .no_features = mergeable });
	static uint8_t frame[1515], back[5000];
	struct drv_net_hdr hdr;
	size_t len;

	drv_net_fill(&p->drv, 0, 10);
	drv_net_make(frame, sizeof(frame), 5);
	assert_int_equal(fixture_push(&p->fix, 0, frame, 1515, NULL), -EMSGSIZE);
	assert_int_equal(fixture_push(&p->fix, 0, frame, 1514, NULL), 0);
	/* What did not fit was either left alone or given back empty, and never in part. */
	do {
		assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, &hdr), 1);
		assert_int_equal(hdr.num_buffers, 1);
	} while (len == 0);
	assert_int_equal(len, 1514);
	assert_memory_equal(back, frame, 1514);
}

/* A receive buffer of several descriptors; the header lies across the first ones. */
static void receive_buffer_of_many_descriptors(void **state)
{
	static const uint32_t first[] = { 1, 5, 10, 11, 12, 13, 26, 100 };
	struct pair *p = running(state, &(struct drv_options){ .no_features = mergeable });
	struct drv_ring *ring = &p->drv.ring[0];
	uint8_t frame[500], all[2048];

	for (unsigned int i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		uint64_t gpa = ring->slots_gpa;
		uint32_t token, len;
		struct drv_seg segs[] = {
			{ gpa, first[i], true },
			{ gpa + 200, 3, true },
			{ gpa + 300, 20, true },
			{ gpa + 400, 1600, true },
		};
		size_t at = 0;

		drv_mem_write(&p->drv.mem, gpa, (uint8_t[2048]){ 0 }, 2048);
		if (i % 2)
			assert_true(drv_ring_add_indirect(ring, segs, 4, ring->indirect_gpa, 0) >=
				    0);
		else
			assert_true(drv_ring_add(ring, segs, 4, 0) >= 0);
		drv_ring_kick(ring);
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_int_equal(drv_ring_pop_used(ring, &token, &len), 1);
		assert_int_equal(len, 12 + sizeof(frame));
		for (unsigned int j = 0; j < 4; j++) {
			drv_mem_read(&p->drv.mem, segs[j].gpa, all + at, segs[j].len);
			at += segs[j].len;
		}
		assert_memory_equal(all + 12, frame, sizeof(frame));
		assert_int_equal(all[10], 1);
		assert_int_equal(all[11], 0);
		/* Behind the frame nothing was written. */
		for (at = 12 + sizeof(frame); at < 1600; at++)
			assert_int_equal(all[at], 0);
		/* Nor between the pieces. */
		drv_mem_read(&p->drv.mem, gpa, all, 400);
		for (at = first[i]; at < 400; at++)
			if ((at < 200 || at >= 203) && (at < 300 || at >= 320))
				assert_int_equal(all[at], 0);
	}
}

/* A guest that takes one frame and gives the buffers of others: no frame is mixed up. */
static void buffers_of_many_sizes_in_one_ring(void **state)
{
	struct pair *p = running(state, &(struct drv_options){ .slot_size = 4096 });
	struct drv_ring *ring = &p->drv.ring[0];
	static uint8_t frame[3000], bytes[4000];
	uint32_t given = 0;

	for (uint32_t n = 0; n < 100; n++) {
		size_t size = 60 + n * 29;
		size_t at = 0;
		uint16_t num_buffers = 1;

		while (ring->nr_free_slots > 0) {
			uint32_t slot = ring->free_slot[--ring->nr_free_slots];
			struct drv_seg seg = { ring->slots_gpa + (uint64_t)slot * 4096,
					       20 + given++ * 97 % 3000, true };

			assert_true(drv_ring_add(ring, &seg, 1, slot) >= 0);
		}
		drv_ring_kick(ring);
		drv_net_make(frame, size, n);
		assert_int_equal(fixture_push(&p->fix, 0, frame, size, NULL), 0);
		for (uint16_t i = 0; i < num_buffers; i++) {
			uint32_t slot, len;

			assert_int_equal(drv_ring_pop_used(ring, &slot, &len), 1);
			drv_mem_read(&p->drv.mem, ring->slots_gpa + (uint64_t)slot * 4096,
				     bytes + at, len);
			ring->free_slot[ring->nr_free_slots++] = slot;
			at += len;
			if (i == 0)
				memcpy(&num_buffers, bytes + 10, 2);
		}
		assert_false(drv_ring_has_used(ring));
		assert_int_equal(at, 12 + size);
		assert_true(drv_net_verify(bytes + 12, size, n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(each_cut_of_header_and_frame),
		pair_test(header_has_the_size_that_was_agreed),
		pair_test(header_is_right_whatever_the_buffer_held),
		pair_test(frames_of_64_kib_pass),
		pair_test(too_short_and_too_long_are_dropped_and_given_back),
		pair_test(header_fields_arrive_in_both_directions),
		pair_test(frame_goes_over_as_many_buffers_as_it_needs),
		pair_test(too_few_buffers_leave_the_ring_as_it_was),
		pair_test(without_mergeable_one_buffer_takes_all_or_nothing),
		pair_test(receive_buffer_of_many_descriptors),
		pair_test(buffers_of_many_sizes_in_one_ring),
	};

	return cmocka_run_group_tests_name("net layout", tests, NULL, NULL);
}
