/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Ring states: stopped or started, disabled or enabled, two bits that know nothing of each other. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend_fixture.h"

/* Negotiated, memory known, no ring started or enabled. */
static struct pair *prepared(void **state, enum fixture_mode mode)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .mode = mode },
				 &(struct drv_options){ .need_reply = true });

	drv_negotiate(&p->drv);
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&p->drv);
	return p;
}

static struct pair *running(void **state, enum fixture_mode mode)
{
	struct pair *p = prepared(state, mode);

	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(&p->drv, i, true);
		drv_start_ring(&p->drv, i, 0);
	}
	return p;
}

static void put_frames(struct pair *p, unsigned int nr)
{
	uint8_t frame[100];

	for (unsigned int i = 0; i < nr; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_true(drv_net_add(&p->drv, 1, frame, sizeof(frame), NULL) >= 0);
	}
}

static bool reaped(struct pair *p, unsigned int *nr, unsigned int want)
{
	*nr += drv_net_reap(&p->drv, 1);
	return *nr == want;
}

static void wait_reaped(struct pair *p, unsigned int want)
{
	unsigned int nr = 0;

	assert_true(check_until(fixture_pump(NULL), reaped(p, &nr, want)));
}

static void rings_begin_stopped_and_disabled(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	assert_int_equal(fixture_state(&p->fix, 0), VHU_RING_STOPPED_DISABLED);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_DISABLED);
	assert_int_equal(p->fix.ring[1].started, 0);
}

static void enable_is_kept_while_stopped(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	drv_enable_ring(&p->drv, 1, true);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_ENABLED);
	assert_int_equal(fixture_state(&p->fix, 0), VHU_RING_STOPPED_DISABLED);
	drv_enable_ring(&p->drv, 1, false);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_DISABLED);
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 0);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
	drv_stop_ring(&p->drv, 1);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_ENABLED);
}

static void start_leaves_a_disabled_ring_disabled(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	drv_start_ring(&p->drv, 1, 0);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_DISABLED);
	drv_stop_ring(&p->drv, 1);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_DISABLED);
}

static void set_features_without_bit_30_enables_all_rings(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	uint64_t bit30 = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT);

	drv_negotiate(&p->drv);
	drv_set_features(&p->drv, p->drv.offered & ~bit30 & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(fixture_state(&p->fix, 0), VHU_RING_STOPPED_ENABLED);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_ENABLED);
	drv_set_mem(&p->drv);
	drv_start_ring(&p->drv, 0, 0);
	drv_start_ring(&p->drv, 1, 0);
	drv_net_echo(&p->drv, 1, 0, 5);
}

static void set_features_never_disables(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	drv_enable_ring(&p->drv, 0, true);
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 0);
	drv_set_features(&p->drv, p->drv.features);
	assert_int_equal(fixture_state(&p->fix, 0), VHU_RING_STOPPED_ENABLED);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
}

static void ring_starts_on_its_kick_fd_without_a_kick(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	/* What a resumed guest had left there: it will not kick again. */
	put_frames(p, 3);
	drv_ring_publish(&p->drv.ring[1]);
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 0);
	wait_reaped(p, 3);
	assert_int_equal(fixture_frames(&p->fix), 3);
}

static void kick_before_enable_is_not_lost(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	p->drv.options.need_reply = false;
	put_frames(p, 5);
	/* All in one go: the kick is there before the ring is enabled, and no other will come. */
	drv_start_ring(&p->drv, 1, 0);
	drv_ring_kick_always(&p->drv.ring[1]);
	drv_enable_ring(&p->drv, 1, true);
	wait_reaped(p, 5);
	assert_int_equal(fixture_frames(&p->fix), 5);
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_DISABLED), 0);
}

/* The kick is seen by the data side while the ring is disabled, and the ring is enabled at once. */
static void kick_just_before_enable_is_not_lost(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);
	unsigned int delivered = 0;

	/* How long a moment is depends on the machine: one try in twenty has to be within it. */
	drv_start_ring(&p->drv, 1, 0);
	fixture_settle();
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t before = fixture_frames(&p->fix);

		put_frames(p, 1);
		drv_ring_kick_always(&p->drv.ring[1]);
		fixture_pump(NULL);
		drv_enable_ring(&p->drv, 1, true);
		wait_reaped(p, 1);
		delivered += fixture_frames(&p->fix) > before;
		drv_enable_ring(&p->drv, 1, false);
	}
	assert_true(delivered > 0);
	assert_int_equal(delivered + fixture_drops(&p->fix, VHU_NET_DROP_DISABLED), 20);
}

static void started_and_disabled_takes_and_drops_what_is_sent(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);

	drv_start_ring(&p->drv, 1, 0);
	put_frames(p, 7);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 7);
	assert_int_equal(fixture_frames(&p->fix), 0);
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_DISABLED), 7);
	drv_enable_ring(&p->drv, 1, true);
	put_frames(p, 2);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 2);
	assert_int_equal(fixture_frames(&p->fix), 2);
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_DISABLED), 7);
}

static void disable_of_a_running_ring_takes_effect_with_the_ack(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK);

	put_frames(p, 1);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 1);
	drv_enable_ring(&p->drv, 1, false);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_DISABLED);
	put_frames(p, 4);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 4);
	assert_int_equal(fixture_frames(&p->fix), 1);
}

static void started_and_disabled_receive_ring_is_not_supplied(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);
	uint8_t frame[60] = { 0 };

	drv_start_ring(&p->drv, 0, 0);
	drv_net_fill(&p->drv, 0, 8);
	fixture_settle();
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), -ENOTCONN);
	assert_int_equal(drv_ring_used_idx(&p->drv.ring[0]), 0);
	drv_enable_ring(&p->drv, 0, true);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	assert_int_equal(drv_ring_used_idx(&p->drv.ring[0]), 1);
	drv_enable_ring(&p->drv, 0, false);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), -ENOTCONN);
	assert_int_equal(drv_ring_used_idx(&p->drv.ring[0]), 1);
}

static void get_vring_base_stops_and_tells_the_position(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK);
	uint8_t frame[60] = { 0 };

	put_frames(p, 9);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 9);
	drv_net_fill(&p->drv, 0, 8);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), 0);
	assert_int_equal(drv_stop_ring(&p->drv, 1), 9);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STOPPED_ENABLED);
	assert_false(p->fix.ring[1].running);
	assert_int_equal(p->fix.ring[1].stopped, 1);
	/* The receive ring: one buffer of eight was used. */
	assert_true(p->fix.ring[0].running);
	assert_int_equal(drv_stop_ring(&p->drv, 0), 1);
	assert_int_equal(fixture_push(&p->fix, 0, frame, sizeof(frame), NULL), -ENOTCONN);
	/* Asked again it says the same. */
	assert_int_equal(drv_stop_ring(&p->drv, 1), 9);
}

static void stopped_ring_is_not_touched(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK);
	struct drv_ring *ring = &p->drv.ring[1];
	size_t used_size = 6 + 8 * (size_t)ring->num;
	uint8_t *before = malloc(used_size);

	assert_non_null(before);
	put_frames(p, 2);
	drv_ring_kick(ring);
	wait_reaped(p, 2);
	drv_ring_calls(ring);
	drv_stop_ring(&p->drv, 1);
	memcpy(before, ring->used, used_size);
	put_frames(p, 2);
	drv_ring_kick_always(ring);
	drv_enable_ring(&p->drv, 1, false);
	drv_enable_ring(&p->drv, 1, true);
	fixture_settle();
	assert_memory_equal(before, ring->used, used_size);
	assert_int_equal(drv_ring_calls(ring), 0);
	assert_int_equal(fixture_frames(&p->fix), 2);
	free(before);
}

static void restart_goes_on_at_the_base(void **state)
{
	struct pair *p = running(state, FIXTURE_SINK);
	unsigned int sent = 0;

	for (unsigned int round = 0; round < 30; round++) {
		unsigned int nr = round % 5;

		put_frames(p, nr);
		drv_ring_kick(&p->drv.ring[1]);
		sent += nr;
		/* Stopping drains or leaves them: either way none is lost and none comes twice. */
		uint16_t base = drv_stop_ring(&p->drv, 1);

		assert_int_equal(base, drv_ring_used_idx(&p->drv.ring[1]));
		assert_true((uint16_t)(p->drv.ring[1].avail_idx - base) <= nr);
		drv_start_ring(&p->drv, 1, base);
		wait_reaped(p, nr);
		assert_int_equal(fixture_frames(&p->fix), sent);
	}
}

static void base_near_the_end_of_the_index_wraps(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);
	struct drv_ring *ring = &p->drv.ring[1];

	ring->avail_idx = ring->published = ring->used_idx = 65533;
	ring->avail[1] = 65533;
	ring->used[1] = 65533;
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 65533);
	for (unsigned int i = 0; i < 3; i++) {
		put_frames(p, 5);
		drv_ring_kick(ring);
		wait_reaped(p, 5);
	}
	assert_int_equal(drv_stop_ring(&p->drv, 1), (uint16_t)(65533 + 15));
}

static void ring_without_a_kick_fd_is_polled(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);
	struct vhu_vring_addr addr;

	drv_enable_ring(&p->drv, 1, true);
	drv_fill_addr(&p->drv, 1, &addr);
	drv_do_state(&p->drv, VHU_SET_VRING_NUM, 1, p->drv.ring[1].num);
	drv_do_state(&p->drv, VHU_SET_VRING_BASE, 1, 0);
	drv_do(&p->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_KICK, 1, -1);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, 1, -1);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
	assert_int_equal(p->fix.ring[1].kick_fd, -1);
	/* the one that a start may make; the ring has had a call fd until now */
	drv_ring_calls(&p->drv.ring[1]);
	for (unsigned int i = 0; i < 3; i++) {
		put_frames(p, 4);
		drv_ring_publish(&p->drv.ring[1]);
		wait_reaped(p, 4);
	}
	assert_int_equal(drv_ring_calls(&p->drv.ring[1]), 0);
}

static void ring_is_not_started_before_it_is_set_up(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	uint64_t index = 1;
	int ret;

	drv_negotiate(&p->drv);
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_enable_ring(&p->drv, 1, true);
	/* Neither memory nor addresses: refused or kept for later, but nothing runs. */
	drv_ring_kick_always(&p->drv.ring[1]);
	ret = drv_ack(&p->drv, VHU_SET_VRING_KICK, &index, 8, &p->drv.ring[1].kick_fd, 1);
	assert_true(ret == 0 || ret == 1);
	fixture_settle();
	assert_false(p->fix.ring[1].running);
	drv_set_mem(&p->drv);
	drv_start_ring(&p->drv, 1, 0);
	put_frames(p, 1);
	drv_ring_kick(&p->drv.ring[1]);
	wait_reaped(p, 1);
}

static void memory_may_come_last(void **state)
{
	struct pair *p = pair_up(state, &(struct fixture_options){ .mode = FIXTURE_SINK },
				 &(struct drv_options){ .need_reply = true });

	drv_negotiate(&p->drv);
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	put_frames(p, 2);
	drv_ring_kick_always(&p->drv.ring[1]);
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 0);
	fixture_settle();
	assert_false(p->fix.ring[1].running);
	drv_set_mem(&p->drv);
	wait_reaped(p, 2);
	assert_int_equal(fixture_state(&p->fix, 1), VHU_RING_STARTED_ENABLED);
	assert_int_equal(p->fix.complaints, 0);
}

static void states_are_traced(void *arg, const struct vhu_event *event)
{
	uint8_t *last = arg;

	if (event->kind != VHU_EVENT_RING_STATE || event->ring != 1)
		return;
	assert_int_equal(event->from, *last);
	assert_int_not_equal(event->to, *last);
	*last = event->to;
}

static void every_change_is_traced_once(void **state)
{
	struct pair *p = prepared(state, FIXTURE_SINK);
	uint8_t last = VHU_RING_STOPPED_DISABLED;

	p->fix.on_event = states_are_traced;
	p->fix.event_arg = &last;
	drv_enable_ring(&p->drv, 1, true);
	assert_int_equal(last, VHU_RING_STOPPED_ENABLED);
	drv_enable_ring(&p->drv, 1, true);
	drv_start_ring(&p->drv, 1, 0);
	assert_int_equal(last, VHU_RING_STARTED_ENABLED);
	drv_enable_ring(&p->drv, 1, false);
	assert_int_equal(last, VHU_RING_STARTED_DISABLED);
	drv_stop_ring(&p->drv, 1);
	assert_int_equal(last, VHU_RING_STOPPED_DISABLED);
	p->fix.on_event = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(rings_begin_stopped_and_disabled),
		pair_test(enable_is_kept_while_stopped),
		pair_test(start_leaves_a_disabled_ring_disabled),
		pair_test(set_features_without_bit_30_enables_all_rings),
		pair_test(set_features_never_disables),
		pair_test(ring_starts_on_its_kick_fd_without_a_kick),
		pair_test(kick_before_enable_is_not_lost),
		pair_test(kick_just_before_enable_is_not_lost),
		pair_test(started_and_disabled_takes_and_drops_what_is_sent),
		pair_test(disable_of_a_running_ring_takes_effect_with_the_ack),
		pair_test(started_and_disabled_receive_ring_is_not_supplied),
		pair_test(get_vring_base_stops_and_tells_the_position),
		pair_test(stopped_ring_is_not_touched),
		pair_test(restart_goes_on_at_the_base),
		pair_test(base_near_the_end_of_the_index_wraps),
		pair_test(ring_without_a_kick_fd_is_polled),
		pair_test(ring_is_not_started_before_it_is_set_up),
		pair_test(memory_may_come_last),
		pair_test(every_change_is_traced_once),
	};

	return cmocka_run_group_tests_name("ring state", tests, NULL, NULL);
}
