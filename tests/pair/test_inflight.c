/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* The in-flight region of split rings: handed out, taken back, kept, and its orderly end. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inflight_fixture.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the region ---- */

static void region_is_made_sealed_and_zero(void **state)
{
	static const uint32_t sizes[] = { 20, 24 }; /* with the padding of a C compiler or not */
	struct inflight_world *w = inflight_connected(state);

	for (unsigned int i = 0; i < NR(sizes); i++) {
		struct vhu_inflight desc;
		int fd = inflight_get(w->drv, 2, INFLIGHT_SIZE, sizes[i], &desc);
		uint8_t *bytes;

		assert_int_equal(desc.nr_queues, 2);
		assert_int_equal(desc.queue_size, INFLIGHT_SIZE);
		assert_int_equal(desc.mmap_offset, 0);
		assert_int_equal(desc.mmap_size, 2 * INFLIGHT_PART);
		assert_int_equal(lseek(fd, 0, SEEK_END), 2 * INFLIGHT_PART);
		assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		bytes = mmap(NULL, 2 * INFLIGHT_PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(bytes != MAP_FAILED);
		for (unsigned int k = 0; k < 2 * INFLIGHT_PART; k++)
			assert_int_equal(bytes[k], 0);
		munmap(bytes, 2 * INFLIGHT_PART);
		close(fd);
	}
	drv_check_in_step(w->drv);
	inflight_end(w);
}

static void region_of_unknown_layout_has_room_for_both(void **state)
{
	struct pair *p = pair_up(
		state, &(struct fixture_options){ .protocol_features = WITH_INFLIGHT }, NULL);
	struct vhu_inflight desc;

	drv_negotiate(&p->drv);
	close(inflight_get(&p->drv, 2, 256, sizeof(desc), &desc));
	/* 32 bytes an entry, 32 before them, up to a multiple of 64 */
	assert_int_equal(desc.mmap_size, 2 * (32 * 256 + 64));
	drv_check_in_step(&p->drv);
}

static void region_is_in_force_as_soon_as_it_is_handed_out(void **state)
{
	struct inflight_world *w = inflight_connected(state);

	w->fd = inflight_get(w->drv, 2, INFLIGHT_SIZE, sizeof(w->desc), &w->desc);
	inflight_map(w);
	inflight_start_rings(w, 0);
	assert_int_equal(inflight_part(w, 1)->version, 1);
	assert_int_equal(inflight_part(w, 1)->desc_num, INFLIGHT_SIZE);
	inflight_send(w, 2);
	inflight_take(w, 8, 2, 0);
	assert_int_equal(inflight_nr_marks(w, 1), 2);
	inflight_end(w);
}

static void region_is_not_exchanged_under_running_rings(void **state)
{
	struct inflight_world *w = inflight_running(state);

	fixture_forget_reasons(w->fix);
	assert_int_equal(inflight_set(w), 1);
	fixture_check_reason(w->fix, "SET_INFLIGHT_FD|ring 0 is started");
	drv_check_in_step(w->drv);
	drv_stop_ring(w->drv, 0);
	assert_int_equal(inflight_set(w), 1);
	drv_stop_ring(w->drv, 1);
	assert_int_equal(inflight_set(w), 0);
	inflight_end(w);
}

static void requests_need_the_feature(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	struct vhu_inflight desc = { .nr_queues = 2, .queue_size = 256 };

	drv_negotiate(&p->drv);
	assert_false(p->drv.protocol_offered & VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT));
	assert_int_equal(drv_send(&p->drv, VHU_GET_INFLIGHT_FD, 0, &desc, sizeof(desc), NULL, 0),
			 0);
	assert_true(drv_is_closed(&p->drv));
	fixture_check_reason(&p->fix, "GET_INFLIGHT_FD|INFLIGHT_SHMFD was not agreed");
}

/* ---- recording ---- */

static void chains_are_marked_while_they_are_taken(void **state)
{
	struct inflight_world *w = inflight_running(state);
	uint64_t last = 0;

	inflight_send(w, 5);
	inflight_take(w, 3, 3, 0);
	for (unsigned int i = 0; i < 5; i++) {
		const struct inflight_entry *e =
			&inflight_part(w, 1)->desc[w->drv->ring[1].avail[2 + i]];

		assert_int_equal(e->inflight, i < 3);
		assert_true(i == 0 || i >= 3 || e->counter > last);
		last = e->counter;
	}
	assert_int_equal(inflight_part(w, 1)->used_idx, 0);
	inflight_give_back(w);
	assert_int_equal(inflight_nr_marks(w, 1), 0);
	assert_int_equal(inflight_part(w, 1)->used_idx, 3);
	/* the other ring's part was not touched but for its begin */
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	assert_int_equal(inflight_part(w, 0)->version, 1);
	inflight_end(w);
}

static void ring_beyond_the_region_is_served_without_a_record(void **state)
{
	static const uint16_t sizes[][2] = { { 1, INFLIGHT_SIZE }, { 2, INFLIGHT_SIZE / 2 } };

	for (unsigned int i = 0; i < NR(sizes); i++) {
		struct inflight_world *w = inflight_connected(state);
		uint8_t zero[INFLIGHT_PART] = { 0 };

		w->fd = inflight_get(w->drv, sizes[i][0], sizes[i][1], sizeof(w->desc), &w->desc);
		inflight_map(w);
		assert_int_equal(inflight_set(w), 0);
		inflight_start_rings(w, 0);
		inflight_send(w, 4);
		inflight_take(w, 8, 4, 0);
		if (i == 1) /* both rings are larger than what there is room for */
			assert_memory_equal(w->bytes, zero, INFLIGHT_PART / 2);
		if (i == 1)
			fixture_check_reason(w->fix, "ring 1: 16 entries|has 8: not recorded");
		inflight_give_back(w);
		inflight_all_came_back(w, 4);
		inflight_end(w);
		pair_teardown(state);
		pair_setup(state);
	}
}

static void buffers_given_back_to_be_taken_again_lose_their_mark(void **state)
{
	struct inflight_world *w = inflight_running(state);
	uint8_t frame[64] = { 0 };
	struct vhu_net_frame f = { .len = 64, .head_len = 64, .head = frame };
	struct inflight_part *rx = inflight_part(w, 0);

	drv_net_fill(w->drv, 0, 4);
	assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	assert_int_equal(inflight_nr_marks(w, 0), 2);
	vhu_net_rewind(inflight_queue(w, 0));
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	/* and the same buffers are taken, and are marked, again */
	assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	assert_int_equal(rx->desc[w->drv->ring[0].avail[2]].inflight, 1);
	assert_int_equal(inflight_nr_marks(w, 0), 1);
	assert_int_equal(vhu_net_commit(inflight_queue(w, 0)), 0);
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	assert_int_equal(rx->used_idx, 1);
	inflight_end(w);
}

static void push_that_finds_too_few_buffers_leaves_no_mark(void **state)
{
	struct inflight_world *w = inflight_running(state);
	static uint8_t bytes[8000];
	struct iovec iov = { bytes, sizeof(bytes) - 64 };
	struct vhu_net_frame f = {
		.len = sizeof(bytes), .head_len = 64, .head = bytes, .iov = &iov, .nr_iov = 1
	};

	drv_net_fill(w->drv, 0, 3); /* of 2048 bytes */
	assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), -ENOSPC);
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	drv_net_fill(w->drv, 0, 1);
	assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	assert_int_equal(inflight_nr_marks(w, 0), 4);
	assert_int_equal(vhu_net_commit(inflight_queue(w, 0)), 0);
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	inflight_end(w);
}

/* ---- orderly ends ---- */

static void orderly_stop_leaves_nothing_in_flight(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 2, 2, 0);
	inflight_give_back(w);
	inflight_take(w, 3, 3, 2);
	/* what was taken and not returned is taken anew after the next start, record or not */
	assert_int_equal(drv_stop_ring(w->drv, 1), 2);
	assert_int_equal(inflight_nr_marks(w, 1), 0);
	assert_int_equal(inflight_part(w, 1)->version, 0);
	inflight_give_back(w); /* too late: nothing happens */
	drv_start_ring(w->drv, 1, 2);
	drv_check_in_step(w->drv);
	assert_int_equal(inflight_part(w, 1)->version, 1);
	assert_int_equal(inflight_part(w, 1)->used_idx, 2);
	inflight_take(w, 8, 4, 2);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void orderly_stop_keeps_what_is_still_to_come_again(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 4, 4, 0);
	inflight_crash(w);
	inflight_take(w, 1, 1, 0);
	inflight_give_back(w);
	/* for who goes on without the region: the three are available */
	assert_int_equal(drv_stop_ring(w->drv, 1), 1);
	assert_int_equal(inflight_nr_marks(w, 1), 3);
	drv_start_ring(w->drv, 1, 1);
	drv_check_in_step(w->drv);
	inflight_take(w, 8, 5, 1);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void frontend_that_comes_back_to_the_same_backend_goes_on(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 4, 4, 0);
	drv_disconnect(w->drv);
	assert_true(check_until(fixture_pump(NULL), w->fix->closed == w->fix->connected));
	assert_int_equal(drv_connect(w->drv, w->fix->path), 0);
	inflight_hello(w);
	assert_int_equal(inflight_set(w), 0);
	inflight_start_rings(w, 0);
	inflight_take(w, 8, 6, 0);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void reset_forgets_what_was_in_flight(void **state)
{
	static const uint32_t resets[] = { VHU_SET_STATUS, VHU_RESET_DEVICE, VHU_RESET_OWNER };

	for (unsigned int i = 0; i < NR(resets); i++) {
		struct inflight_world *w = inflight_running(state);
		uint64_t zero = 0;

		inflight_send(w, 6);
		inflight_take(w, 4, 4, 0);
		inflight_crash(w); /* so that there are some to be handed out again */
		inflight_take(w, 1, 1, 0);
		drv_do(w->drv, resets[i], &zero, resets[i] == VHU_SET_STATUS ? 8 : 0, NULL, 0);
		assert_int_equal(inflight_nr_marks(w, 1), 0);
		assert_int_equal(inflight_part(w, 1)->version, 0);
		/* the driver begins the ring anew, with the same region */
		drv_ring_reset(&w->drv->ring[1]);
		drv_enable_ring(w->drv, 1, true);
		drv_start_ring(w->drv, 1, 0);
		drv_check_in_step(w->drv);
		assert_int_equal(vhu_net_pull(inflight_queue(w, 1), w->fix->burst, 8), 0);
		inflight_give_back(w);
		w->number = 50;
		inflight_send(w, 2);
		inflight_take(w, 8, 2, 50);
		inflight_give_back(w);
		inflight_all_came_back(w, 2);
		inflight_end(w);
		pair_teardown(state);
		pair_setup(state);
	}
}

/* ---- with a data thread of its own ---- */

static void traffic_is_recorded_by_its_thread(void **state)
{
	const struct fixture_options threaded = { .mode = FIXTURE_ECHO,
						  .threaded = true,
						  .protocol_features = WITH_INFLIGHT };
	struct inflight_world *w = calloc(1, sizeof(*w));
	struct vhu_inflight other;

	assert_non_null(w);
	drv_mem_share_mapping(true);
	w->pair = pair_up(state, &threaded,
			  &(struct drv_options){ .ring_size = INFLIGHT_SIZE, .need_reply = true });
	w->drv = &w->pair->drv;
	w->fix = &w->pair->fix;
	inflight_hello(w);
	w->fd = inflight_get(w->drv, 2, INFLIGHT_SIZE, sizeof(w->desc), &w->desc);
	inflight_map(w);
	assert_int_equal(inflight_set(w), 0);
	inflight_start_rings(w, 0);
	for (unsigned int i = 0; i < 6; i++) {
		drv_net_echo(w->drv, 1, 20 * i, 20);
		if (i % 3 == 0) {
			/* stopped, and the region exchanged and forgotten, under the thread's hands */
			assert_int_equal(drv_stop_ring(w->drv, 1), w->drv->ring[1].used_idx);
			assert_int_equal(drv_stop_ring(w->drv, 0), w->drv->ring[0].used_idx);
			close(inflight_get(w->drv, 2, INFLIGHT_SIZE, sizeof(other), &other));
			assert_int_equal(inflight_set(w), 0);
		} else if (i % 3 == 1) {
			drv_do_u64(w->drv, VHU_SET_STATUS, 0);
		} else {
			continue;
		}
		for (unsigned int k = 0; k < 2; k++)
			drv_start_ring(w->drv, k, w->drv->ring[k].used_idx);
		drv_check_in_step(w->drv);
	}
	/* frames are on their way while the ring is stopped: none is lost by it */
	for (unsigned int i = 0; i < 20; i++) {
		uint16_t base;

		inflight_send(w, 8);
		drv_ring_kick_always(&w->drv->ring[1]);
		base = drv_stop_ring(w->drv, 1);
		assert_true((uint16_t)(base - w->drv->ring[1].used_idx) <= 8);
		assert_int_equal(inflight_nr_marks(w, 1), 0);
		drv_start_ring(w->drv, 1, base);
		assert_true(check_until(fixture_pump(NULL), drv_ring_used_idx(&w->drv->ring[1]) ==
								    w->drv->ring[1].avail_idx));
		inflight_all_came_back(w, 8);
	}
	drv_mem_share_mapping(false);
	inflight_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(region_is_made_sealed_and_zero),
		pair_test(region_of_unknown_layout_has_room_for_both),
		pair_test(region_is_in_force_as_soon_as_it_is_handed_out),
		pair_test(region_is_not_exchanged_under_running_rings),
		pair_test(requests_need_the_feature),
		pair_test(chains_are_marked_while_they_are_taken),
		pair_test(ring_beyond_the_region_is_served_without_a_record),
		pair_test(buffers_given_back_to_be_taken_again_lose_their_mark),
		pair_test(push_that_finds_too_few_buffers_leaves_no_mark),
		pair_test(orderly_stop_leaves_nothing_in_flight),
		pair_test(orderly_stop_keeps_what_is_still_to_come_again),
		pair_test(frontend_that_comes_back_to_the_same_backend_goes_on),
		pair_test(reset_forgets_what_was_in_flight),
		pair_test(traffic_is_recorded_by_its_thread),
	};

	return cmocka_run_group_tests_name("in flight", tests, NULL, NULL);
}
