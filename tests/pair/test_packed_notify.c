/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The packed ring: who notifies whom and when, at every place of rings that are no power of two. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "packed_fixture.h"

#define NO_EVENT_IDX VHU_MASK(VHU_F_EVENT_IDX_BIT)

static struct vhu_queue *queue;

static void idle(void **state, uint32_t num, uint64_t without)
{
	packed_running(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, num, 0, without);
	queue = vhu_backend_queue(p->fix.backend, 1);
}

static void add(unsigned int nr_desc)
{
	struct drv_layout layout = { .nr = nr_desc - 1 };
	uint8_t frame[200] = { 0 };

	for (unsigned int i = 0; i < layout.nr; i++)
		layout.cut[i] = 3;
	assert_true(dp_net_add(tx, frame, sizeof(frame), &layout) >= 0);
}

/*
 * ---- Device to driver ----
 */
static void call_comes_exactly_if_the_used_side_passes_the_event(void **state)
{
	for (uint32_t num = 1; num <= 7; num++) {
		idle(state, num, 0);
		add(1);
		packed_pull_all();
		dp_net_reap(tx);
		dp_calls(tx); /* the first one after a start is one too many */
		/* from every place, for every number used at once, for every event */
		for (unsigned int from = 0; from < 2 * num; from++) {
			for (unsigned int nr = 1; nr <= num; nr++) {
				for (unsigned int event = 0; event < 2 * num; event++) {
					dp_set_event(tx, dp_advance(tx->used, event, num), DP_DESC);
					/* one chain, or as many as there are places */
					if (event % 2)
						add(nr);
					for (unsigned int i = 0; event % 2 == 0 && i < nr; i++)
						add(1);
					packed_pull_all();
					assert_int_equal(dp_calls(tx), event < nr);
					assert_true(dp_net_reap(tx) > 0);
				}
			}
			dp_set_event(tx, 0, DP_DISABLE);
			add(1);
			packed_pull_all();
			dp_net_reap(tx);
		}
		packed_again(state);
	}
}

static void calls_follow_the_flags(void **state)
{
	for (unsigned int how = 0; how < 2; how++) {
		idle(state, 3, how ? NO_EVENT_IDX : 0);
		add(1);
		packed_pull_all();
		dp_net_reap(tx);
		dp_calls(tx); /* the first one after a start is one too many */
		for (unsigned int i = 0; i < 100; i++) {
			dp_set_event(tx, (uint16_t)(i * 7919), i % 2 ? DP_ENABLE : DP_DISABLE);
			add(1);
			packed_pull_all();
			assert_int_equal(dp_calls(tx), i % 2);
			dp_net_reap(tx);
		}
		packed_again(state);
	}
}

/* DESC where it was not agreed, the reserved value: rather one call too many. */
static void flags_that_cannot_be_cost_no_call(void **state)
{
	idle(state, 5, NO_EVENT_IDX);
	dp_calls(tx);
	for (unsigned int i = 0; i < 40; i++) {
		dp_set_event(tx, (uint16_t)i, i % 2 ? DP_DESC : 3);
		add(1);
		packed_pull_all();
		assert_int_equal(dp_calls(tx), 1);
		dp_net_reap(tx);
	}
}

static void nonsense_in_the_event_area_is_survived(void **state)
{
	idle(state, 5, 0);
	add(1);
	packed_pull_all();
	dp_net_reap(tx);
	for (unsigned int i = 0; i < 65536; i++) {
		bool beyond = (i & 0x7fff) >= 5;

		dp_set_event(tx, (uint16_t)i, (uint16_t)(i % 3 ? DP_DESC : i << 2 | DP_DESC));
		dp_calls(tx);
		add(1);
		packed_pull_all();
		/* an index beyond the ring: who would wait for it for ever? */
		if (beyond)
			assert_int_equal(dp_calls(tx), 1);
		assert_int_equal(dp_net_reap(tx), 1);
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void burst_is_one_call(void **state)
{
	struct vhu_queue_stats before, after;

	idle(state, 50, 0);
	dp_calls(tx);
	dp_want_calls(tx, true);
	vhu_queue_stats(queue, &before);
	for (unsigned int i = 0; i < 10; i++)
		add(1 + i % 3);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 32), 10);
	assert_false(dp_has_used(tx)); /* published with done, not before */
	vhu_net_done(queue, p->fix.burst);
	assert_true(dp_has_used(tx));
	assert_int_equal(dp_calls(tx), 1);
	vhu_queue_stats(queue, &after);
	assert_int_equal(after.chains - before.chains, 10);
	assert_int_equal(after.calls - before.calls, 1);
	/* The event lies behind now: silence until it is moved. */
	assert_int_equal(dp_net_reap(tx), 10);
	for (unsigned int i = 0; i < 10; i++)
		add(1);
	packed_pull_all();
	assert_int_equal(dp_calls(tx), 0);
	vhu_queue_stats(queue, &after);
	assert_true(after.calls_suppressed > before.calls_suppressed);
}

static void batch_in_order_calls_by_all_its_places(void **state)
{
	for (unsigned int event = 0; event < 10; event++) {
		packed_running(state, &(struct fixture_options){ .mode = FIXTURE_IDLE }, 5,
			       VHU_MASK(VHU_F_IN_ORDER_BIT), 0);
		add(1);
		packed_pull_all();
		dp_net_reap(tx);
		for (unsigned int round = 0; round < 20; round++) {
			dp_calls(tx);
			dp_set_event(tx, dp_advance(tx->used, event, 5), DP_DESC);
			for (unsigned int i = 0; i < 4; i++)
				add(1);
			packed_pull_all();
			assert_int_equal(dp_calls(tx), event < 4);
			assert_int_equal(dp_net_reap(tx), 4);
		}
		packed_again(state);
	}
}

static void receive_ring_calls_by_the_same_rules(void **state)
{
	uint8_t frame[100] = { 0 };

	idle(state, 9, 0);
	queue = vhu_backend_queue(p->fix.backend, 0);
	dp_net_fill(rx, 9, 300);
	dp_calls(rx);
	dp_want_calls(rx, true);
	for (unsigned int i = 0; i < 4; i++)
		packed_push(frame, sizeof(frame));
	assert_false(dp_has_used(rx));
	assert_int_equal(vhu_net_commit(queue), 0);
	assert_true(dp_has_used(rx));
	assert_int_equal(dp_calls(rx), 1);
	packed_push(frame, sizeof(frame));
	assert_int_equal(vhu_net_commit(queue), 0);
	assert_int_equal(dp_calls(rx), 0);
}

static void new_call_fd_gets_what_the_old_one_may_have_missed(void **state)
{
	struct drv_ring *lent;

	packed_mode(state, FIXTURE_SINK, 5);
	lent = &p->drv.ring[1];
	add(1);
	dp_kick(tx);
	assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
	dp_net_reap(tx);
	fixture_settle();
	dp_set_event(tx, dp_advance(tx->used, 4, 5), DP_DESC);
	close(lent->call_fd);
	lent->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, 1, lent->call_fd);
	assert_true(check_until(fixture_pump(NULL), dp_calls(tx) > 0));
}

/* Who served the ring before us may have died between its used descriptors and its call. */
static void call_that_somebody_before_us_missed_is_made_at_the_start(void **state)
{
	uint32_t base;

	packed_mode(state, FIXTURE_SINK, 5);
	for (unsigned int i = 0; i < 12; i++) {
		add(1);
		dp_kick(tx);
		assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
		dp_net_reap(tx);
		fixture_settle();
		base = dp_stop_ring(tx);
		dp_set_event(tx, dp_advance(tx->used, 4, 5), DP_DESC);
		dp_calls(tx);
		dp_start_ring(tx, base);
		assert_true(check_until(fixture_pump(NULL), dp_calls(tx) > 0));
	}
}

/*
 * ---- Driver to device ----
 */
static uint32_t asked(uint16_t flags, uint16_t off_wrap)
{
	return (uint32_t)flags << 16 | off_wrap;
}

static void arm_asks_for_exactly_the_next_place(void **state)
{
	for (uint32_t num = 1; num <= 5; num++) {
		idle(state, num, 0);
		for (unsigned int i = 0; i < 6 * num; i++) {
			assert_false(vhu_queue_arm(queue));
			assert_int_equal(dp_device_event(tx), asked(DP_DESC, tx->avail));
			add(1);
			assert_true(dp_kick(tx));
			/* There is work: it must not sleep, and asks for no more. */
			assert_true(vhu_queue_arm(queue));
			assert_int_equal(dp_device_event(tx), asked(DP_DISABLE, 0));
			assert_false(dp_kick(tx));
			packed_pull_all();
			dp_net_reap(tx);
		}
		packed_again(state);
	}
}

static void kicks_without_event_index_follow_the_flag(void **state)
{
	idle(state, 5, NO_EVENT_IDX);
	for (unsigned int i = 0; i < 40; i++) {
		assert_false(vhu_queue_arm(queue));
		assert_int_equal(dp_device_event(tx), asked(DP_ENABLE, 0));
		add(1);
		assert_true(dp_kick(tx));
		vhu_queue_disarm(queue);
		assert_int_equal(dp_device_event(tx), asked(DP_DISABLE, 0));
		add(1);
		assert_false(dp_kick(tx));
		assert_true(vhu_queue_arm(queue));
		packed_pull_all();
		assert_int_equal(dp_net_reap(tx), 2);
	}
}

static void one_kick_wakes_a_sleeping_device_and_no_more_are_asked_for(void **state)
{
	packed_mode(state, FIXTURE_SINK, 67);
	for (unsigned int round = 0; round < 50; round++) {
		fixture_settle();
		assert_int_equal(dp_device_event(tx), asked(DP_DESC, tx->avail));
		add(1);
		assert_true(dp_kick(tx));
		for (unsigned int i = 0; i < 9; i++) {
			add(1 + i % 3);
			assert_false(dp_kick(tx));
		}
		assert_true(check_until(fixture_pump(NULL),
					fixture_frames(&p->fix) == 10 * (round + 1)));
		fixture_settle();
		assert_int_equal(dp_net_reap(tx), 10);
	}
	assert_int_equal(tx->kicks, 50);
}

/*
 * ---- The end ----
 */
static void no_notification_once_stopped(void **state)
{
	struct dp_desc before;
	uint32_t base, event;

	idle(state, 7, 0);
	dp_want_calls(tx, true);
	for (unsigned int i = 0; i < 3; i++)
		add(2);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 2), 2);
	dp_calls(tx);
	before = dp_at(tx, tx->used);
	event = dp_device_event(tx);
	base = dp_stop_ring(tx);
	assert_int_equal(base, packed_base(DP_FRESH)); /* nothing was published */
	/* Frames pulled before the stop: done after it does nothing. */
	vhu_net_done(queue, p->fix.burst);
	assert_memory_equal(&tx->desc[0], &before, sizeof(before));
	assert_int_equal(dp_calls(tx), 0);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), -ENOTCONN);
	vhu_net_done(queue, p->fix.burst);
	assert_false(vhu_queue_arm(queue));
	vhu_queue_disarm(queue);
	assert_int_equal(dp_device_event(tx), event);
	/* And after a new start all three are there. */
	dp_start_ring(tx, base);
	vhu_net_done(queue, p->fix.burst);
	assert_false(dp_has_used(tx));
	packed_pull_all();
	assert_int_equal(dp_net_reap(tx), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(call_comes_exactly_if_the_used_side_passes_the_event),
		packed_test(calls_follow_the_flags),
		packed_test(flags_that_cannot_be_cost_no_call),
		packed_test(nonsense_in_the_event_area_is_survived),
		packed_test(burst_is_one_call),
		packed_test(batch_in_order_calls_by_all_its_places),
		packed_test(receive_ring_calls_by_the_same_rules),
		packed_test(new_call_fd_gets_what_the_old_one_may_have_missed),
		packed_test(call_that_somebody_before_us_missed_is_made_at_the_start),
		packed_test(arm_asks_for_exactly_the_next_place),
		packed_test(kicks_without_event_index_follow_the_flag),
		packed_test(one_kick_wakes_a_sleeping_device_and_no_more_are_asked_for),
		packed_test(no_notification_once_stopped),
	};

	return cmocka_run_group_tests_name("packed notify", tests, NULL, NULL);
}
