/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The in-flight region of split rings: what the backend after a dead one makes of it. */
#include "inflight_fixture.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

/* ---- after a death ---- */

static void chains_not_returned_come_again_before_new_ones(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 2, 2, 0);
	inflight_give_back(w);
	inflight_take(w, 3, 3, 2);
	inflight_crash(w);
	inflight_send(w, 2);
	/* three again, one that nobody had taken, two that are new */
	inflight_take(w, 4, 4, 2);
	inflight_give_back(w);
	inflight_take(w, 8, 2, 6);
	inflight_give_back(w);
	inflight_all_came_back(w, 8);
	assert_int_equal(inflight_nr_marks(w, 1), 0);
	inflight_end(w);
}

static void base_of_the_frontend_counts_for_nothing_beside_a_record(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 4, 4, 0);
	inflight_remember(w);
	inflight_bury(w);
	inflight_next_backend(w);
	inflight_start_rings(w, 3);
	inflight_take(w, 8, 6, 0);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void a_second_death_loses_nothing(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 4, 4, 0);
	inflight_crash(w);
	inflight_crash(w); /* before anything was taken again */
	inflight_take(w, 2, 2, 0);
	inflight_crash(w); /* two handed out again, two not yet */
	inflight_take(w, 2, 2, 0);
	inflight_give_back(w);
	inflight_crash(w);
	inflight_take(w, 3, 3, 2);
	inflight_crash(w);
	inflight_take(w, 8, 4, 2);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void rings_go_round_across_deaths(void **state)
{
	struct inflight_world *w = inflight_running(state);
	uint32_t taken = 0;

	for (unsigned int i = 0; i < 40; i++) {
		inflight_send(w, 1 + i % INFLIGHT_SIZE);
		inflight_take(w, 1 + i % 5,
			      1 + (i % 5 < i % INFLIGHT_SIZE ? i % 5 : i % INFLIGHT_SIZE), taken);
		if (i % 3 == 0)
			inflight_crash(w);
		else
			inflight_give_back(w);
		if (i % 3 != 0)
			taken += 1 + (i % 5 < i % INFLIGHT_SIZE ? i % 5 : i % INFLIGHT_SIZE);
		while (taken < w->number) {
			inflight_take(w, 1, 1, taken++);
			inflight_give_back(w);
		}
		inflight_all_came_back(w, 1 + i % INFLIGHT_SIZE);
	}
	inflight_end(w);
}

static void published_and_not_cleared_is_not_returned_twice(void **state)
{
	struct inflight_world *w = inflight_running(state);
	struct inflight_part *p;

	inflight_send(w, 6);
	inflight_take(w, 2, 2, 0);
	inflight_give_back(w);
	inflight_take(w, 3, 3, 2);
	inflight_give_back(w);
	/* the moment after the store of the ring's index: three linked, marked, used_idx behind */
	inflight_remember(w);
	p = (struct inflight_part *)(void *)(w->region + INFLIGHT_PART);
	assert_int_equal(p->last_batch_head, w->drv->ring[1].avail[2 + 4]);
	p->used_idx = 2;
	for (unsigned int i = 2; i < 5; i++)
		p->desc[w->drv->ring[1].avail[2 + i]].inflight = 1;
	inflight_bury(w);
	inflight_resume(w);
	assert_int_equal(inflight_nr_marks(w, 1), 0);
	assert_int_equal(inflight_part(w, 1)->used_idx, 5);
	inflight_take(w, 8, 1, 5);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

static void linked_and_not_published_comes_again(void **state)
{
	struct inflight_world *w = inflight_running(state);
	struct inflight_part *p;
	const uint16_t *avail = &w->drv->ring[1].avail[2];

	inflight_send(w, 6);
	inflight_take(w, 3, 3, 0);
	inflight_remember(w);
	p = (struct inflight_part *)(void *)(w->region + INFLIGHT_PART);
	p->desc[avail[0]].next = 0;
	p->desc[avail[1]].next = avail[0];
	p->last_batch_head = avail[1];
	inflight_bury(w);
	inflight_resume(w);
	inflight_take(w, 8, 6, 0);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_end(w);
}

/* What a backend that completes out of order leaves: it had returned 1 and 3, and was at 5. */
static void record_of_a_foreign_backend_is_taken_up(void **state)
{
	static const unsigned int held[] = { 0, 2, 4 };
	struct inflight_world *w = inflight_running(state);
	const struct drv_ring *r = &w->drv->ring[1];
	struct inflight_part *p;
	uint32_t elems[2][2];
	const struct vhu_net_frame *frames;

	inflight_send(w, 7);
	inflight_remember(w);
	p = (struct inflight_part *)(void *)(w->region + INFLIGHT_PART);
	for (unsigned int i = 0; i < NR(held); i++) {
		p->desc[r->avail[2 + held[i]]].inflight = 1;
		p->desc[r->avail[2 + held[i]]].counter = 1000 + held[i];
	}
	p->used_idx = 2;
	p->last_batch_head = r->avail[2 + 3];
	for (unsigned int i = 0; i < 2; i++) {
		elems[i][0] = r->avail[2 + 1 + 2 * i];
		elems[i][1] = 0;
	}
	memcpy(w->used[1] + 4, elems, sizeof(elems));
	w->used[1][2] = 2; /* idx */
	inflight_bury(w);
	inflight_resume(w);
	frames = vhu_net_burst_frames(w->fix->burst);
	assert_int_equal(vhu_net_pull(inflight_queue(w, 1), w->fix->burst, 8), 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(drv_net_verify(frames[i].head, 64, i < 3 ? held[i] : 2 + i));
	/* the counter went on */
	assert_true(inflight_part(w, 1)->desc[r->avail[2 + 5]].counter > 1004);
	inflight_give_back(w);
	inflight_all_came_back(w, 7);
	inflight_end(w);
}

static void order_is_that_of_the_counters(void **state)
{
	struct inflight_world *w = inflight_running(state);
	const struct drv_ring *r = &w->drv->ring[1];
	const struct vhu_net_frame *frames;
	struct inflight_part *p;

	inflight_send(w, 3);
	inflight_take(w, 3, 3, 0);
	inflight_remember(w);
	p = (struct inflight_part *)(void *)(w->region + INFLIGHT_PART);
	p->desc[r->avail[2]].counter = 9;
	p->desc[r->avail[3]].counter = 7;
	p->desc[r->avail[4]].counter = 8;
	inflight_bury(w);
	inflight_resume(w);
	frames = vhu_net_burst_frames(w->fix->burst);
	assert_int_equal(vhu_net_pull(inflight_queue(w, 1), w->fix->burst, 8), 3);
	assert_true(drv_net_verify(frames[0].head, 64, 1));
	assert_true(drv_net_verify(frames[1].head, 64, 2));
	assert_true(drv_net_verify(frames[2].head, 64, 0));
	inflight_give_back(w);
	inflight_all_came_back(w, 3);
	inflight_end(w);
}

static void buffers_handed_out_again_can_be_given_back(void **state)
{
	struct inflight_world *w = inflight_running(state);
	uint8_t frame[64] = { 0 }, back[64];
	struct vhu_net_frame f = { .len = 64, .head_len = 64, .head = frame };
	size_t len;

	drv_net_fill(w->drv, 0, 4);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	inflight_crash(w);
	assert_int_equal(inflight_nr_marks(w, 0), 3);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	vhu_net_rewind(inflight_queue(w, 0));
	/* three are still those of before, the fourth is as it was */
	assert_int_equal(inflight_nr_marks(w, 0), 3);
	for (unsigned int i = 0; i < 4; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(vhu_net_push(inflight_queue(w, 0), &f), 0);
	}
	assert_int_equal(vhu_net_commit(inflight_queue(w, 0)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(drv_net_receive(w->drv, 0, back, sizeof(back), &len, NULL), 1);
		assert_true(drv_net_verify(back, len, i));
	}
	assert_int_equal(w->drv->ring[0].used_idx, w->drv->ring[0].avail_idx);
	assert_int_equal(inflight_nr_marks(w, 0), 0);
	inflight_end(w);
}

/* A data thread sleeps only if there is nothing, and what comes again is something. */
static void chains_that_come_again_need_no_kick(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 2);
	inflight_take(w, 8, 2, 0);
	inflight_crash(w);
	assert_true(vhu_queue_arm(inflight_queue(w, 1)));
	inflight_take(w, 8, 2, 0);
	inflight_give_back(w);
	assert_false(vhu_queue_arm(inflight_queue(w, 1)));
	inflight_end(w);
}

static void ring_begun_anew_while_nobody_was_there_is_served(void **state)
{
	struct inflight_world *w = inflight_running(state);

	inflight_send(w, 6);
	inflight_take(w, 8, 6, 0);
	inflight_give_back(w);
	inflight_all_came_back(w, 6);
	inflight_remember(w);
	inflight_bury(w);
	drv_ring_reset(&w->drv->ring[1]);
	inflight_resume(w);
	inflight_send(w, 2);
	inflight_take(w, 8, 2, 6);
	inflight_give_back(w);
	inflight_all_came_back(w, 2);
	inflight_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(chains_not_returned_come_again_before_new_ones),
		pair_test(base_of_the_frontend_counts_for_nothing_beside_a_record),
		pair_test(a_second_death_loses_nothing),
		pair_test(rings_go_round_across_deaths),
		pair_test(published_and_not_cleared_is_not_returned_twice),
		pair_test(linked_and_not_published_comes_again),
		pair_test(record_of_a_foreign_backend_is_taken_up),
		pair_test(order_is_that_of_the_counters),
		pair_test(buffers_handed_out_again_can_be_given_back),
		pair_test(chains_that_come_again_need_no_kick),
		pair_test(ring_begun_anew_while_nobody_was_there_is_served),
	};

	return cmocka_run_group_tests_name("in flight, after a death", tests, NULL, NULL);
}
