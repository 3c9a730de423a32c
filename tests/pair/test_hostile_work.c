/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* A guest that wears the device out, or lies about what it gives for receiving. */
#include <unistd.h>

#include "hostile.h"

enum {
	FRAME = 200
};

/* Puts one descriptor by hand into the receive ring, and publishes it. */
static void give(struct hostile *h, const struct drv_desc *desc)
{
	struct drv_ring *ring = &h->drv.ring[0];
	uint16_t head = (uint16_t)(ring->num - 1);

	ring->desc[head] = *desc;
	drv_ring_add_head(ring, head);
	drv_ring_publish(ring);
}

/* Both rings begin anew, with nothing in them. */
static void fresh(struct hostile *h)
{
	for (unsigned int i = 0; i < 2; i++) {
		drv_stop_ring(&h->drv, i);
		drv_ring_reset(&h->drv.ring[i]);
		drv_start_ring(&h->drv, i, 0);
	}
}

/* Whatever was done to the ring: after a restart a frame arrives. */
static void receives_again(struct hostile *h)
{
	uint8_t frame[FRAME], back[4096];
	size_t len;

	fresh(h);
	drv_check_in_step(&h->drv);
	drv_net_fill(&h->drv, 0, 8);
	drv_net_make(frame, FRAME, 9);
	assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), 0);
	assert_int_equal(drv_net_receive(&h->drv, 0, back, sizeof(back), &len, NULL), 1);
	assert_int_equal(len, FRAME);
	assert_memory_equal(back, frame, FRAME);
	fresh(h);
}

enum {
	NR_BAD = 9
};

/* Buffers that no frame can be put into; gpa is a page of good memory. */
static void bad_buffers(struct hostile *h, uint64_t gpa, struct drv_desc *ret_descs)
{
	const struct drv_region *r1 = &h->drv.mem.region[1];
	const struct drv_desc rows[NR_BAD] = {
		{ gpa, 2048, 0, 0 }, /* not for the device to write */
		{ 0, 2048, DRV_DESC_WRITE, 0 },
		{ r1->gpa + r1->size - 2047, 2048, DRV_DESC_WRITE, 0 },
		{ UINT64_MAX - 10, 2048, DRV_DESC_WRITE, 0 },
		{ gpa, 0, DRV_DESC_WRITE, 0 },
		{ gpa, 2048, DRV_DESC_WRITE | DRV_DESC_NEXT, 255 },
		{ gpa, 2048, DRV_DESC_WRITE | DRV_DESC_NEXT, 256 },
		{ gpa, 17, DRV_DESC_INDIRECT, 0 },
		{ gpa, 0, DRV_DESC_INDIRECT, 0 },
	};

	memcpy(ret_descs, rows, sizeof(rows));
}

static void bad_receive_buffers(struct hostile *h)
{
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 4096, 4096);
	struct drv_desc rows[NR_BAD];
	uint8_t frame[FRAME], before[4096], after[4096];

	bad_buffers(h, gpa, rows);
	drv_net_make(frame, FRAME, 1);
	for (unsigned int i = 0; i < NR_BAD; i++) {
		int ret;

		drv_mem_read(&h->drv.mem, gpa, before, sizeof(before));
		give(h, &rows[i]);
		ret = fixture_push(&h->victim, 0, frame, FRAME, NULL);
		assert_true(ret == -ENOSPC || ret == -EMSGSIZE || ret == -ENOTCONN);
		vhu_net_commit(vhu_backend_queue(h->victim.backend, 0));
		/* If the head came back it came back empty. */
		for (uint16_t j = 0; j != drv_ring_used_idx(&h->drv.ring[0]); j++)
			assert_int_equal(drv_ring_used_elem(&h->drv.ring[0], j).len, 0);
		drv_mem_read(&h->drv.mem, gpa, after, sizeof(after));
		assert_memory_equal(before, after, sizeof(after));
		receives_again(h);
	}
}

static void b14_bad_receive_buffers_are_never_written(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), bad_receive_buffers);
}

static void good_buffers_behind_bad_ones(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[0];
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 4096, 4096);
	struct drv_desc rows[NR_BAD];
	uint8_t frame[FRAME], back[4096];
	struct drv_net_hdr hdr;
	size_t len;

	bad_buffers(h, gpa, rows);
	for (unsigned int i = 0; i < NR_BAD; i++) {
		give(h, &rows[i]);
		drv_net_fill(&h->drv, 0, 4);
		drv_net_make(frame, FRAME, i);
		assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), 0);
		assert_int_equal(drv_ring_used_idx(ring), 2);
		assert_int_equal(drv_ring_used_elem(ring, 0).id, ring->num - 1);
		assert_int_equal(drv_ring_used_elem(ring, 0).len, 0);
		ring->used_idx = 1;
		assert_int_equal(drv_net_receive(&h->drv, 0, back, sizeof(back), &len, &hdr), 1);
		assert_int_equal(hdr.num_buffers, 1);
		assert_int_equal(len, FRAME);
		assert_memory_equal(back, frame, FRAME);
		fresh(h);
	}
}

static void b24_good_buffers_behind_bad_ones_are_used(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL),
		       good_buffers_behind_bad_ones);
}

/* A buffer smaller than the header, alone and as the first of several. */
static void small_receive_buffers(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[0];
	uint8_t frame[FRAME], bytes[1024];

	for (uint32_t size = 1; size < 14; size++) {
		uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 1024, 64);
		size_t at = 0;
		int ret;

		for (unsigned int i = 0; i < 40; i++) {
			struct drv_seg seg = { gpa + (uint64_t)i * size, size, true };

			assert_true(drv_ring_add(ring, &seg, 1, i) >= 0);
		}
		drv_ring_publish(ring);
		drv_net_make(frame, FRAME, size);
		ret = fixture_push(&h->victim, 0, frame, FRAME, NULL);
		if (ret == 0) {
			uint32_t token, len;

			while (drv_ring_pop_used(ring, &token, &len) == 1)
				at += len;
			assert_int_equal(at, 12 + FRAME);
			drv_mem_read(&h->drv.mem, gpa, bytes, 12 + FRAME);
			assert_memory_equal(bytes + 12, frame, FRAME);
		} else {
			assert_true(ret == -ENOSPC || ret == -EMSGSIZE || ret == -ENOTCONN);
		}
		receives_again(h);
	}
}

static void b5_buffers_smaller_than_the_header_do_no_harm(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), small_receive_buffers);
}

/* The first buffers of a merged frame are good, one behind is not. */
static void merge_that_fails_half_way(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[0];
	static uint8_t frame[5000];
	int ret;

	drv_net_make(frame, sizeof(frame), 2);
	for (unsigned int good = 1; good < 3; good++) {
		drv_net_fill(&h->drv, 0, good);
		give(h, &(struct drv_desc){ 0, 2048, DRV_DESC_WRITE, 0 });
		ret = fixture_push(&h->victim, 0, frame, sizeof(frame), NULL);
		assert_true(ret == -ENOSPC || ret == -EMSGSIZE || ret == -ENOTCONN);
		assert_int_equal(drv_ring_used_idx(ring), 0);
		/* What was refused is given back some time, and with nothing in it. */
		vhu_net_commit(vhu_backend_queue(h->victim.backend, 0));
		for (uint16_t j = 0; j != drv_ring_used_idx(ring); j++)
			assert_int_equal(drv_ring_used_elem(ring, j).len, 0);
		receives_again(h);
	}
}

static void b17_merge_that_fails_half_way_publishes_nothing(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), merge_that_fails_half_way);
}

static void exact_lengths(struct hostile *h)
{
	static uint8_t frame[4000];
	struct drv_ring *ring = &h->drv.ring[0];

	for (size_t len = 14; len < sizeof(frame); len += 397) {
		uint32_t sum = 0;
		uint16_t idx = drv_ring_used_idx(ring);
		uint32_t slot, used;

		drv_net_fill(&h->drv, 0, 64);
		assert_int_equal(fixture_push(&h->victim, 0, frame, len, NULL), 0);
		assert_int_equal((uint16_t)(drv_ring_used_idx(ring) - idx),
				 (len + 12 + 2047) / 2048);
		while (drv_ring_pop_used(ring, &slot, &used) == 1) {
			sum += used;
			ring->free_slot[ring->nr_free_slots++] = slot;
		}
		assert_int_equal(sum, 12 + len);
	}
	hostile_sends(h);
}

static void b16_used_length_is_what_was_written(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), exact_lengths);
}

/* A full ring of the longest bad chains: one visit is bounded, and others are served between. */
static void endless_work(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 64, 64);
	unsigned int visits = 0;
	uint32_t taken = 0;
	int ret;

	h->victim.hold = true;
	for (unsigned int i = 0; i < ring->num; i++) {
		/* Each chain goes once through the whole table, and round. */
		ring->desc[i] =
			(struct drv_desc){ gpa, 1, DRV_DESC_NEXT, (uint16_t)((i + 1) % ring->num) };
		drv_ring_add_head(ring, (uint16_t)i);
	}
	drv_ring_publish(ring);
	while (taken < ring->num) {
		uint32_t some = 0;

		ret = vhu_net_pull(queue, h->victim.burst, VHU_NET_BURST);
		assert_int_equal(ret, 0);
		for (unsigned int i = 0; i < VHU_NET_DROP_END; i++)
			some += vhu_net_burst_drops(h->victim.burst)[i];
		vhu_net_done(queue, h->victim.burst);
		/* A budget for each visit: not all of them at once. */
		assert_true(some > 0 && some <= 1024);
		taken += some;
		visits++;
	}
	assert_true(visits >= ring->num / 1024);
	assert_int_equal(drv_ring_used_idx(ring), (uint16_t)ring->num);
	h->victim.hold = false;
	ring->used_idx = (uint16_t)(ring->used_idx + ring->num);
	hostile_ring_works_after_restart(h);
}

static void b23_endless_work_is_cut_into_visits(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK,
				     &(struct drv_options){ .ring_size = 4096 }),
		       endless_work);
}

static void frames_come_in_bursts(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	uint8_t frame[60] = { 0 };

	h->victim.hold = true;
	for (unsigned int i = 0; i < 64; i++)
		assert_true(drv_net_add(&h->drv, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_publish(&h->drv.ring[1]);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, 5), 5);
	vhu_net_done(queue, h->victim.burst);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, VHU_NET_BURST), VHU_NET_BURST);
	vhu_net_done(queue, h->victim.burst);
	assert_int_equal(drv_ring_used_idx(&h->drv.ring[1]), 5 + VHU_NET_BURST);
	h->victim.hold = false;
}

static void b23_burst_is_no_larger_than_asked_for(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), frames_come_in_bursts);
}

static void bad_chain_for_ever(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint16_t head = (uint16_t)(ring->num - 1);
	uint64_t drops = fixture_drops(&h->victim, VHU_NET_DROP_BAD_CHAIN);

	ring->desc[head] = (struct drv_desc){ 0, 100, 0, 0 };
	for (unsigned int i = 0; i < 3000; i++) {
		uint16_t idx = drv_ring_used_idx(ring);

		drv_ring_add_head(ring, head);
		drv_ring_kick_always(ring);
		assert_true(check_until(fixture_pump(NULL),
					drv_ring_used_idx(ring) == (uint16_t)(idx + 1)));
		assert_int_equal(drv_ring_used_elem(ring, idx).id, head);
		assert_int_equal(drv_ring_used_elem(ring, idx).len, 0);
		ring->used_idx++;
	}
	assert_int_equal(fixture_drops(&h->victim, VHU_NET_DROP_BAD_CHAIN), drops + 3000);
	/* Counted, not told three thousand times. */
	assert_false(h->victim.texts_full);
	hostile_sends(h);
}

static void b24_bad_chain_is_given_back_each_time(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), bad_chain_for_ever);
}

static void good_among_bad(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint16_t bad = (uint16_t)(ring->num - 20);
	uint64_t frames = fixture_frames(&h->victim);
	uint16_t idx = drv_ring_used_idx(ring);
	uint8_t frame[FRAME];

	h->victim.hold = true;
	for (uint16_t i = 0; i < 20; i++) {
		ring->desc[bad + i] = (struct drv_desc){ 0, 100, 0, 0 };
		drv_ring_add_head(ring, (uint16_t)(bad + i));
		drv_net_make(frame, FRAME, i);
		assert_true(drv_net_add(&h->drv, 1, frame, FRAME, NULL) >= 0);
	}
	h->victim.hold = false;
	drv_ring_kick_always(ring);
	assert_true(
		check_until(fixture_pump(NULL), (uint16_t)(drv_ring_used_idx(ring) - idx) == 40));
	assert_int_equal(fixture_frames(&h->victim), frames + 20);
	assert_int_equal(h->victim.last_len, FRAME);
	assert_true(drv_net_verify(h->victim.last, FRAME, 19));
	for (uint16_t i = 0; i < 40; i += 2)
		assert_int_equal(drv_ring_used_elem(ring, (uint16_t)(idx + i)).id, bad + i / 2);
}

static void b14_good_frames_among_bad_chains_pass(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), good_among_bad);
}

static void changed_after_it_was_judged(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	struct drv_ring *ring = &h->drv.ring[1];
	struct vhu_net_frame *frame;
	uint8_t bytes[1000], junk[2048];

	h->victim.hold = true;
	memset(junk, 0xff, sizeof(junk));
	drv_net_make(bytes, sizeof(bytes), 4);
	assert_true(drv_net_add(&h->drv, 1, bytes, sizeof(bytes), NULL) >= 0);
	drv_ring_publish(ring);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, 1), 1);
	frame = vhu_net_burst_frames(h->victim.burst);
	for (unsigned int i = 0; i < ring->nr_slots; i++)
		drv_mem_write(&h->drv.mem, ring->slots_gpa + (uint64_t)i * ring->slot_size, junk,
			      sizeof(junk));
	assert_int_equal(frame->len, sizeof(bytes));
	/* Ethernet, IP and TCP with all their options lie in the private copy. */
	assert_true(frame->head_len >= 14 + 60 + 60);
	assert_memory_equal(frame->head, bytes, frame->head_len);
	assert_int_equal(frame->hdr.flags, 0);
	assert_int_equal(frame->hdr.gso_type, VHU_NET_GSO_NONE);
	vhu_net_done(queue, h->victim.burst);
	h->victim.hold = false;
	drv_net_reap(&h->drv, 1);
}

static void b25_delivered_is_what_was_judged(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), changed_after_it_was_judged);
}

static void reset_in_mid_burst(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	uint8_t frame[FRAME] = { 0 };

	h->victim.hold = true;
	assert_true(drv_net_add(&h->drv, 1, frame, FRAME, NULL) >= 0);
	drv_ring_publish(&h->drv.ring[1]);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, 8), 1);
	drv_do(&h->drv, VHU_RESET_DEVICE, NULL, 0, NULL, 0);
	drv_check_in_step(&h->drv);
	vhu_net_done(queue, h->victim.burst);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, 8), -ENOTCONN);
	vhu_net_done(queue, h->victim.burst);
	h->victim.hold = false;
}

static void b21_reset_in_mid_burst_is_safe(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), reset_in_mid_burst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(b5_buffers_smaller_than_the_header_do_no_harm),
		hostile_test(b14_bad_receive_buffers_are_never_written),
		hostile_test(b14_good_frames_among_bad_chains_pass),
		hostile_test(b16_used_length_is_what_was_written),
		hostile_test(b17_merge_that_fails_half_way_publishes_nothing),
		hostile_test(b21_reset_in_mid_burst_is_safe),
		hostile_test(b23_endless_work_is_cut_into_visits),
		hostile_test(b23_burst_is_no_larger_than_asked_for),
		hostile_test(b24_bad_chain_is_given_back_each_time),
		hostile_test(b24_good_buffers_behind_bad_ones_are_used),
		hostile_test(b25_delivered_is_what_was_judged),
	};

	return cmocka_run_group_tests_name("hostile work", tests, NULL, NULL);
}
