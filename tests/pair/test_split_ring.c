/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The split ring: sizes, wrap-around, order, indirect tables, and who notifies whom and when. */
#include <unistd.h>

#include "backend_fixture.h"

static struct pair *running(void **state, enum fixture_mode mode, unsigned int ring_size,
			    uint64_t no_features)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .mode = mode },
				 &(struct drv_options){ .ring_size = ring_size,
							.need_reply = true,
							.no_features = no_features });

	drv_start(&p->drv);
	return p;
}

static void send_all(struct pair *p, unsigned int nr)
{
	uint8_t frame[64];
	unsigned int sent = 0, back = 0;
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;

	while (back < nr) {
		while (sent < nr) {
			drv_net_make(frame, sizeof(frame), sent);
			if (drv_net_add(&p->drv, 1, frame, sizeof(frame), NULL) < 0)
				break;
			sent++;
		}
		drv_ring_kick(&p->drv.ring[1]);
		fixture_pump(NULL);
		unsigned int some = drv_net_reap(&p->drv, 1);

		back += some;
		if (some)
			end = check_now_ms() + CHECK_PATIENCE_MS;
		assert_true(check_now_ms() < end);
	}
	assert_int_equal(fixture_frames(&p->fix), nr);
	assert_true(drv_net_verify(p->fix.last, p->fix.last_len, nr - 1));
	assert_int_equal(drv_stop_ring(&p->drv, 1), (uint16_t)nr);
}

static void receive_all(struct pair *p, unsigned int nr)
{
	uint8_t frame[64], back[4096];
	size_t len;

	for (unsigned int i = 0; i < nr; i++) {
		drv_net_fill(&p->drv, 0, p->drv.ring[0].num);
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
		assert_int_equal(drv_net_receive(&p->drv, 0, back, sizeof(back), &len, NULL), 1);
		assert_int_equal(len, sizeof(frame));
		assert_true(drv_net_verify(back, len, i));
	}
	assert_int_equal(drv_stop_ring(&p->drv, 0), (uint16_t)nr);
}

static void each_power_of_two_is_a_size(void **state)
{
	for (unsigned int size = 1; size <= VHU_MAX_RING_SIZE; size *= 2) {
		struct pair *p = running(state, FIXTURE_SINK, size, 0);
		unsigned int nr = size < 1000 ? 3 * size + 1 : size + 10;

		send_all(p, nr);
		receive_all(p, nr);
		assert_int_equal(p->fix.complaints, 0);
		pair_teardown(state);
		pair_setup(state);
	}
}

static void indices_wrap_on_a_small_ring(void **state)
{
	static const uint64_t without[] = { 0, VHU_MASK(VHU_F_EVENT_IDX_BIT) };

	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int size = 1; size <= 4; size *= 2) {
			struct pair *p = running(state, FIXTURE_SINK, size, without[i]);

			send_all(p, 2 * 65536 + 7);
			receive_all(p, 2 * 65536 + 7);
			assert_int_equal(p->fix.complaints, 0);
			pair_teardown(state);
			pair_setup(state);
		}
	}
}

/* QEMU's network device resumes from the used index after a crash: order is a promise. */
static void chains_are_completed_in_the_order_of_available(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK, 64, 0);
	uint8_t frame[200] = { 0 };
	int heads[40];

	for (unsigned int round = 0; round < 20; round++) {
		uint16_t idx = drv_ring_used_idx(&p->drv.ring[1]);
		unsigned int nr = 40;

		for (unsigned int i = 0; i < nr; i++) {
			/* A mix of good ones, bad ones and several descriptors. */
			struct drv_layout layout = { .nr = i % 3 ? 0 : 1,
						     .cut = { 12 },
						     .indirect = i % 4 == 0 };

			heads[i] =
				drv_net_add(&p->drv, 1, frame, i % 5 ? sizeof(frame) : 1, &layout);
			if (heads[i] < 0)
				nr = i;
		}
		assert_true(nr > 30);
		drv_ring_kick(&p->drv.ring[1]);
		assert_true(
			check_until(fixture_pump(NULL),
				    (uint16_t)(drv_ring_used_idx(&p->drv.ring[1]) - idx) == nr));
		for (unsigned int i = 0; i < nr; i++)
			assert_int_equal(
				drv_ring_used_elem(&p->drv.ring[1], (uint16_t)(idx + i)).id,
				heads[i]);
		assert_int_equal(drv_net_reap(&p->drv, 1), nr);
	}
}

static void indirect_tables_of_all_lengths(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK, 8, 0);
	uint8_t frame[400];

	for (unsigned int nr = 1; nr <= 60; nr++) {
		struct drv_layout layout = { .nr = nr - 1, .indirect = true };

		for (unsigned int i = 0; i < layout.nr; i++)
			layout.cut[i] = i == 0 ? 12 : 1 + i % 5;
		drv_net_make(frame, sizeof(frame), nr);
		assert_true(drv_net_add(&p->drv, 1, frame, sizeof(frame), &layout) >= 0);
		drv_ring_kick(&p->drv.ring[1]);
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&p->drv.ring[1])));
		assert_int_equal(drv_net_reap(&p->drv, 1), 1);
		assert_int_equal(p->fix.last_len, sizeof(frame));
		assert_true(drv_net_verify(p->fix.last, sizeof(frame), nr));
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void chains_as_long_as_the_ring(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK, 32, 0);
	struct drv_layout layout = { .nr = 31 };
	uint8_t frame[400];

	for (unsigned int i = 0; i < layout.nr; i++)
		layout.cut[i] = 7;
	for (unsigned int i = 0; i < 100; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_true(drv_net_add(&p->drv, 1, frame, sizeof(frame), &layout) >= 0);
		drv_ring_kick(&p->drv.ring[1]);
		assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&p->drv.ring[1])));
		assert_int_equal(drv_net_reap(&p->drv, 1), 1);
		assert_true(drv_net_verify(p->fix.last, sizeof(frame), i));
	}
	assert_int_equal(p->fix.complaints, 0);
}

/*
 * ---- Notification: driver to device ----
 */
static void add_one(struct pair *p)
{
	uint8_t frame[60] = { 0 };

	assert_true(drv_net_add(&p->drv, 1, frame, sizeof(frame), NULL) >= 0);
}

static void wait_used(struct pair *p, uint16_t idx)
{
	assert_true(check_until(fixture_pump(NULL), drv_ring_used_idx(&p->drv.ring[1]) == idx));
	fixture_settle();
	drv_net_reap(&p->drv, 1);
}

static void one_kick_wakes_a_sleeping_device_and_no_more_are_asked_for(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK, 64, 0);
	uint16_t sent = 0;

	for (unsigned int round = 0; round < 50; round++) {
		fixture_settle();
		/* It sleeps: armed at exactly where it has got to. */
		assert_int_equal(drv_ring_avail_event(&p->drv.ring[1]), sent);
		add_one(p);
		assert_true(drv_ring_kick(&p->drv.ring[1]));
		for (unsigned int i = 0; i < 9; i++) {
			add_one(p);
			assert_false(drv_ring_kick(&p->drv.ring[1]));
		}
		sent = (uint16_t)(sent + 10);
		wait_used(p, sent);
	}
	assert_int_equal(p->drv.ring[1].kicks, 50);
}

static void kicks_without_event_index_follow_the_flag(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, VHU_MASK(VHU_F_EVENT_IDX_BIT));
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];

	assert_true(vhu_queue_is_running(queue));
	assert_false(vhu_queue_arm(queue));
	assert_int_equal(drv_ring_used_flags(ring), 0);
	add_one(p);
	assert_true(drv_ring_kick(ring));
	vhu_queue_disarm(queue);
	assert_int_equal(drv_ring_used_flags(ring), DRV_USED_NO_NOTIFY);
	add_one(p);
	assert_false(drv_ring_kick(ring));
	/* There is work: it must not sleep. */
	assert_true(vhu_queue_arm(queue));
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 32), 2);
	vhu_net_done(queue, p->fix.burst);
	assert_false(vhu_queue_arm(queue));
	add_one(p);
	assert_true(drv_ring_kick(ring));
	assert_true(vhu_queue_arm(queue));
}

static void arm_sees_what_came_before_it(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);

	for (unsigned int i = 0; i < 200; i++) {
		assert_false(vhu_queue_arm(queue));
		assert_int_equal(drv_ring_avail_event(&p->drv.ring[1]), i);
		add_one(p);
		drv_ring_publish(&p->drv.ring[1]);
		assert_true(vhu_queue_arm(queue));
		assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), 1);
		vhu_net_done(queue, p->fix.burst);
		drv_net_reap(&p->drv, 1);
	}
}

/*
 * ---- Notification: device to driver ----
 */
static void pull_all(struct pair *p)
{
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	int nr;

	do {
		nr = vhu_net_pull(queue, p->fix.burst, 32);
		assert_true(nr >= 0);
		vhu_net_done(queue, p->fix.burst);
	} while (nr > 0);
}

static void calls_are_made_once_a_burst_and_only_when_asked_for(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];
	struct vhu_queue_stats before, after;

	drv_ring_calls(ring);
	/* Asked for the next one: a burst of ten is one call. */
	drv_ring_want_calls(ring, true);
	vhu_queue_stats(queue, &before);
	for (unsigned int i = 0; i < 10; i++)
		add_one(p);
	drv_ring_publish(ring);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 32), 10);
	assert_int_equal(drv_ring_used_idx(ring), 0); /* published with done, not before */
	vhu_net_done(queue, p->fix.burst);
	assert_int_equal(drv_ring_used_idx(ring), 10);
	assert_int_equal(drv_ring_calls(ring), 1);
	vhu_queue_stats(queue, &after);
	assert_int_equal(after.chains - before.chains, 10);
	assert_int_equal(after.calls - before.calls, 1);
	/* The event lies behind now: silence until it is moved. */
	drv_net_reap(&p->drv, 1);
	for (unsigned int i = 0; i < 10; i++)
		add_one(p);
	drv_ring_publish(ring);
	pull_all(p);
	assert_int_equal(drv_ring_calls(ring), 0);
	vhu_queue_stats(queue, &after);
	assert_int_equal(after.calls - before.calls, 1);
	assert_true(after.calls_suppressed > before.calls_suppressed);
}

static void call_comes_when_the_used_index_passes_the_event(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 16, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];

	/* Across the end of the 16-bit index as well. */
	for (unsigned int i = 0; i < 70000; i++) {
		uint16_t idx = (uint16_t)i;

		/* A call for one entry of fourteen; from there on the event lies behind. */
		if (i % 14 == 0)
			drv_ring_set_used_event(ring, (uint16_t)(idx + 6));
		add_one(p);
		drv_ring_publish(ring);
		assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), 1);
		vhu_net_done(queue, p->fix.burst);
		if (i > 0)
			assert_int_equal(drv_ring_calls(ring), i % 14 == 6);
		else
			drv_ring_calls(ring); /* after a start one too many is allowed */
		drv_net_reap(&p->drv, 1);
	}
}

/* What was signalled before a start says nothing about what comes after it. */
static void start_forgets_what_was_signalled(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 16, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];

	for (uint16_t nr = 1; nr < 10; nr++) {
		for (unsigned int again = 0; again < 2; again++) {
			drv_stop_ring(&p->drv, 1);
			drv_ring_reset(ring);
			drv_start_ring(&p->drv, 1, 0);
			fixture_settle();
			drv_ring_calls(ring);
			drv_ring_set_used_event(ring, (uint16_t)(nr - 1));
			for (unsigned int i = 0; i < nr; i++)
				add_one(p);
			drv_ring_publish(ring);
			assert_int_equal(vhu_net_pull(queue, p->fix.burst, 32), nr);
			vhu_net_done(queue, p->fix.burst);
			assert_int_equal(drv_ring_calls(ring), 1);
		}
	}
}

static void calls_without_event_index_follow_the_flag(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 16, VHU_MASK(VHU_F_EVENT_IDX_BIT));
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];
	struct vhu_queue_stats before, stats;

	/* the start's own */
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), 0);
	vhu_net_done(queue, p->fix.burst);
	assert_int_equal(drv_ring_calls(ring), 1);
	vhu_queue_stats(queue, &before);
	for (unsigned int i = 0; i < 100; i++) {
		drv_ring_want_calls(ring, i % 2);
		add_one(p);
		drv_ring_publish(ring);
		assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), 1);
		vhu_net_done(queue, p->fix.burst);
		assert_int_equal(drv_ring_calls(ring), i % 2);
		drv_net_reap(&p->drv, 1);
	}
	vhu_queue_stats(queue, &stats);
	assert_int_equal(stats.chains, 100);
	assert_int_equal(stats.calls, before.calls + 50);
	assert_int_equal(stats.calls_suppressed, 50);
}

static void receive_ring_calls_by_the_same_rules(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 0);
	struct drv_ring *ring = &p->drv.ring[0];
	uint8_t bytes[VHU_NET_HEAD_ROOM + 60] = { 0 };
	struct vhu_net_frame frame = { .len = 60,
				       .head_len = 60,
				       .head = bytes + VHU_NET_HEAD_ROOM };

	drv_net_fill(&p->drv, 0, 64);
	drv_ring_calls(ring);
	drv_ring_want_calls(ring, true);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(vhu_net_push(queue, &frame), 0);
	assert_int_equal(drv_ring_used_idx(ring), 0);
	assert_int_equal(vhu_net_commit(queue), 0);
	assert_int_equal(drv_ring_used_idx(ring), 10);
	assert_int_equal(drv_ring_calls(ring), 1);
	assert_int_equal(vhu_net_push(queue, &frame), 0);
	assert_int_equal(vhu_net_commit(queue), 0);
	assert_int_equal(drv_ring_calls(ring), 0);
	/* What is taken back was never there. */
	assert_int_equal(vhu_net_push(queue, &frame), 0);
	assert_int_equal(vhu_net_push(queue, &frame), 0);
	vhu_net_rewind(queue);
	assert_int_equal(vhu_net_commit(queue), 0);
	assert_int_equal(drv_ring_used_idx(ring), 11);
	assert_int_equal(drv_stop_ring(&p->drv, 0), 11);
}

static void no_notification_once_stopped(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 1);
	struct drv_ring *ring = &p->drv.ring[1];

	drv_ring_want_calls(ring, true);
	add_one(p);
	drv_ring_publish(ring);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), 1);
	drv_ring_calls(ring);
	uint16_t base = drv_stop_ring(&p->drv, 1);

	/* Frames pulled before the stop: done after it does nothing. */
	vhu_net_done(queue, p->fix.burst);
	assert_int_equal(drv_ring_used_idx(ring), base);
	assert_int_equal(drv_ring_calls(ring), 0);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 1), -ENOTCONN);
	vhu_net_done(queue, p->fix.burst);
	assert_false(vhu_queue_is_running(queue));
	/* And after a new start neither. */
	drv_start_ring(&p->drv, 1, base);
	vhu_net_done(queue, p->fix.burst);
	assert_int_equal(drv_ring_used_idx(ring), base);
	assert_int_equal(vhu_net_pull(queue, p->fix.burst, 4), 1 - base);
	vhu_net_done(queue, p->fix.burst);
	assert_int_equal(drv_ring_used_idx(ring), 1);
}

static void ring_is_taken_by_one_at_a_time(void **state)
{
	struct pair *p = running(state, FIXTURE_IDLE, 64, 0);
	struct vhu_queue *queue = vhu_backend_queue(p->fix.backend, 0);

	assert_true(vhu_queue_trylock(queue));
	assert_false(vhu_queue_trylock(queue));
	vhu_queue_unlock(queue);
	assert_true(vhu_queue_trylock(queue));
	vhu_queue_unlock(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(each_power_of_two_is_a_size),
		pair_test(indices_wrap_on_a_small_ring),
		pair_test(chains_are_completed_in_the_order_of_available),
		pair_test(indirect_tables_of_all_lengths),
		pair_test(chains_as_long_as_the_ring),
		pair_test(one_kick_wakes_a_sleeping_device_and_no_more_are_asked_for),
		pair_test(kicks_without_event_index_follow_the_flag),
		pair_test(arm_sees_what_came_before_it),
		pair_test(calls_are_made_once_a_burst_and_only_when_asked_for),
		pair_test(call_comes_when_the_used_index_passes_the_event),
		pair_test(start_forgets_what_was_signalled),
		pair_test(calls_without_event_index_follow_the_flag),
		pair_test(receive_ring_calls_by_the_same_rules),
		pair_test(no_notification_once_stopped),
		pair_test(ring_is_taken_by_one_at_a_time),
	};

	return cmocka_run_group_tests_name("split ring", tests, NULL, NULL);
}
