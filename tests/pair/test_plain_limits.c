/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Where taking many chains at a time has to stop, or to count anew; and what it may look at in vain. */
#include <ring/ring.h>

#include "plain_fixture.h"

static uint64_t memory_gpa;

static void begin(void **state, bool packed, unsigned int index, uint32_t num)
{
	plain_begin(state, packed, index, num, 0);
	memory_gpa = drv_mem_alloc(&p->drv.mem, 0, 1 << 20, 4096);
}

enum {
	LARGE = 2048,
};

/* One descriptor of that id, which no bookkeeping knows. */
static void put_id(uint64_t gpa, uint32_t len, uint16_t id, bool write)
{
	uint16_t flags = write ? DRV_DESC_WRITE : 0;

	if (plain.packed) {
		dp_put_raw(plain.packed, &(struct dp_desc){ gpa, len, id, flags }, 1);
		return;
	}
	plain.split->desc[id] = (struct drv_desc){ gpa, len, flags, 0 };
	drv_ring_add_head(plain.split, id);
	drv_ring_publish(plain.split);
}

static int pull_and_give_back(void)
{
	int nr = vhu_net_pull(plain.queue, p->fix.burst, VHU_NET_BURST);

	vhu_net_done(plain.queue, p->fix.burst);
	return nr;
}

/* The count of publications goes round: what was taken a whole round ago is not taken now. */
static void ids_are_good_again_after_any_number_of_publications(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 1, LARGE);
		if (packed)
			dp_want_calls(plain.packed, false);
		else
			drv_ring_want_calls(plain.split, false);
		for (uint32_t i = 0; i < 65535 + 3; i++) {
			/* a high one and a low one that come once a round */
			uint16_t id = i % 65535 == 0 ? LARGE - 1 : i % 65535 == 1 ? 0 : 1000;

			put_id(memory_gpa, PLAIN_HDR + 60, id, false);
			assert_int_equal(pull_and_give_back(), 1);
		}
		/* and is still seen if it comes twice, between others, in one burst */
		for (uint16_t id = 1; id < 6; id++)
			put_id(memory_gpa, PLAIN_HDR + 60, id == 4 ? 2 : id, false);
		assert_int_equal(pull_and_give_back(), 3);
		assert_int_equal(pull_and_give_back(), -ENOTCONN);
		assert_true(check_until(fixture_pump(NULL), p->fix.texts[0]));
		fixture_check_reason(&p->fix, "2 came twice");
		packed_again(state);
	}
}

static void shadow_that_is_full_takes_no_more(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		unsigned int pushed = 0;
		int nr;

		begin(state, packed, 0, LARGE);
		for (unsigned int id = 0; id < LARGE; id++)
			put_id(memory_gpa, PLAIN_HDR + 60, (uint16_t)id, true);
		for (unsigned int i = 0; i < PLAIN_FRAMES; i++)
			plain_frame_make(i, 60, i);
		/* all but one of what waits for one publication */
		while (pushed < VHU_SHADOW_MAX - 1) {
			unsigned int want = VHU_SHADOW_MAX - 1 - pushed;

			nr = vhu_net_push_burst(plain.queue, plain_ptrs,
						want < PLAIN_FRAMES ? want : PLAIN_FRAMES);
			assert_true(nr > 0);
			pushed += (unsigned int)nr;
		}
		/* two buffers are one too many; one is not, and a burst gets that far */
		plain_frame_make(0, 100, 0);
		assert_int_equal(vhu_net_push_burst(plain.queue, plain_ptrs, 1), -ENOSPC);
		plain_frame_make(0, 60, 0);
		assert_int_equal(vhu_net_push_burst(plain.queue, plain_ptrs, PLAIN_FRAMES), 1);
		assert_int_equal(vhu_net_push_burst(plain.queue, plain_ptrs, PLAIN_FRAMES),
				 -ENOSPC);
		assert_int_equal(vhu_net_commit(plain.queue), 0);
		for (pushed = 0;; pushed += (unsigned int)nr) {
			nr = vhu_net_push_burst(plain.queue, plain_ptrs, PLAIN_FRAMES);
			if (nr < 0)
				break;
		}
		assert_int_equal(nr, -ENOSPC);
		assert_int_equal(pushed, LARGE - VHU_SHADOW_MAX);
		assert_int_equal(vhu_net_commit(plain.queue), 0);
		for (unsigned int i = 0; i < LARGE; i++) {
			if (packed) {
				assert_int_equal(plain.packed->desc[i].id, i);
				assert_int_equal(plain.packed->desc[i].len, PLAIN_HDR + 60);
				assert_int_equal(plain.packed->desc[i].flags,
						 packed_used_flags(DP_FRESH, true));
			} else {
				assert_int_equal(drv_ring_used_elem(plain.split, (uint16_t)i).id,
						 i);
				assert_int_equal(drv_ring_used_elem(plain.split, (uint16_t)i).len,
						 PLAIN_HDR + 60);
			}
		}
		packed_again(state);
	}
}

/* A long frame where all buffers are of one byte: refused, and all stays as it was. */
static void frames_that_want_more_buffers_than_can_be_change_nothing(void **state)
{
	for (unsigned int packed = 0; packed < 2; packed++) {
		begin(state, packed, 0, LARGE);
		for (unsigned int id = 0; id < LARGE; id++)
			put_id(memory_gpa + id, 1, (uint16_t)id, true);
		plain_frame_make(0, PLAIN_ROOM, 0);
		plain_frame_make(1, 60, 0);
		for (unsigned int i = 0; i < 5; i++) {
			int err = vhu_net_push_burst(plain.queue, plain_ptrs, 1);

			assert_true(err == -ENOSPC || err == -EMSGSIZE);
			assert_int_equal(vhu_net_commit(plain.queue), 0);
		}
		/* the first 72 are still the first, and take a frame that they can take */
		assert_int_equal(vhu_net_push_burst(plain.queue, plain_ptrs + 1, 1), 1);
		assert_int_equal(vhu_net_commit(plain.queue), 0);
		assert_memory_equal((uint8_t *)drv_mem_ptr(&p->drv.mem, memory_gpa) + PLAIN_HDR,
				    plain_bytes[1], 60);
		if (!packed)
			assert_int_equal(drv_ring_used_idx(plain.split), PLAIN_HDR + 60);
		packed_again(state);
	}
}

/* Pushes one frame. How many chains were looked at for it, those that went back included. */
static unsigned int chains_looked_at(uint32_t len)
{
	unsigned int nr = 0;

	memset(plain.queue->shadow, 0xff, plain.queue->shadow_max * sizeof(*plain.queue->shadow));
	plain_frame_make(0, len, len);
	assert_int_equal(vhu_net_push_burst(plain.queue, plain_ptrs, 1), 1);
	while (nr < plain.queue->shadow_max && plain.queue->shadow[nr].id != UINT32_MAX)
		nr++;
	assert_int_equal(vhu_net_commit(plain.queue), 0);
	return nr;
}

/* Buffers of several pieces, of which the first has room for a header only, and yet mergeable. */
static void buffers_are_guessed_by_all_of_their_pieces(void **state)
{
	uint64_t gpa;

	begin(state, false, 0, 256);
	gpa = memory_gpa;
	for (unsigned int i = 0; i < 100; i++) {
		struct drv_seg segs[2] = { { gpa, PLAIN_HDR, true },
					   { gpa + 16, 2048 - PLAIN_HDR, true } };

		assert_true(drv_ring_add(plain.split, segs, 2, i) >= 0);
		gpa += 4096;
	}
	drv_ring_publish(plain.split);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(1514), 1);
	/* larger than one: learnt by the first */
	assert_in_range(chains_looked_at(4000), 2, 3);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(4000), 2);
	assert_int_equal(chains_looked_at(1514), 1);
}

/* A small buffer is forgotten when larger ones have come, or another driver. */
static void guess_of_a_small_buffer_does_not_last(void **state)
{
	begin(state, false, 0, 256);
	for (unsigned int i = 0; i < 100; i++) {
		struct drv_seg seg = { memory_gpa + i * 4096ull, i ? 2048 : 16, true };

		assert_true(drv_ring_add(plain.split, &seg, 1, i) >= 0);
	}
	drv_ring_publish(plain.split);
	chains_looked_at(1514);
	assert_int_not_equal(plain.queue->buffer_len, 0);
	chains_looked_at(1514);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chains_looked_at(1514), 1);
	assert_in_range(chains_looked_at(4000), 2, 3);
	assert_int_not_equal(plain.queue->buffer_len, 0);
	drv_start_ring(&p->drv, 0, drv_stop_ring(&p->drv, 0));
	fixture_settle();
	assert_int_equal(plain.queue->buffer_len, 0);
}

/* Twice round a small table is no work for nothing, whatever room there is for pieces. */
static void loop_is_left_after_its_table_has_been_read_once(void **state)
{
	static struct vhu_seg segs[VHU_CHAIN_MAX];
	const struct vhu_view *view;
	struct vhu_chain chain;
	unsigned int nr = 0;

	begin(state, false, 1, 4);
	for (uint16_t i = 0; i < 4; i++)
		plain.split->desc[i] = (struct drv_desc){ memory_gpa, 100, DRV_DESC_NEXT,
							  (uint16_t)((i + 1) % 4) };
	drv_ring_add_head(plain.split, 0);
	drv_ring_publish(plain.split);
	view = vhu_queue_view(plain.queue);
	assert_int_equal(vhu_ring_take_plain(plain.queue, view, segs, VHU_CHAIN_MAX, 32, false), 0);
	while (nr < VHU_CHAIN_MAX && segs[nr].host)
		nr++;
	assert_int_equal(nr, 4);
	assert_int_equal(vhu_ring_take(plain.queue, view, segs, VHU_CHAIN_MAX, &chain), 1);
	assert_int_equal(chain.fault, VHU_FAULT_LOOP);
	vhu_ring_return(plain.queue, &chain, 0);
	vhu_ring_publish(plain.queue, view);
	assert_int_equal(drv_ring_used_idx(plain.split), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(ids_are_good_again_after_any_number_of_publications),
		packed_test(shadow_that_is_full_takes_no_more),
		packed_test(frames_that_want_more_buffers_than_can_be_change_nothing),
		packed_test(buffers_are_guessed_by_all_of_their_pieces),
		packed_test(guess_of_a_small_buffer_does_not_last),
		packed_test(loop_is_left_after_its_table_has_been_read_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
