/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Kicks as messages: what agrees on them, what they start, and what a frontend that misuses them gets. */
#include <unistd.h>

#include "inband_fixture.h"

/*
 * ---- Kicks ----
 */
static void a_kick_starts_the_ring_and_each_further_one_its_work(void **state)
{
	struct pair *p = inband_prepared(state, &inband_sink);

	inband_put_frames(p, 3);
	fixture_settle();
	assert_int_equal(fixture_frames(&p->fix), 0);
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STOPPED_ENABLED);
	inband_kick(p, TX);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 3));
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STARTED_ENABLED);
	assert_int_equal(fixture_state(&p->fix, RX), VHU_RING_STOPPED_ENABLED);
	fixture_settle();
	assert_int_equal(drv_net_reap(&p->drv, TX), 3);
	/* it is not polled: without a kick nothing is looked at */
	inband_put_frames(p, 2);
	fixture_settle();
	assert_int_equal(fixture_frames(&p->fix), 3);
	inband_kick(p, TX);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 5));
	assert_int_equal(p->fix.ring[TX].started, 1);
	inband_goes_on(p);
}

static void a_kick_that_was_not_agreed_on_is_refused(void **state)
{
	const struct vhu_vring_state one = { TX, 0 };
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });

	drv_start(&p->drv);
	assert_false(p->drv.protocol_offered & INBAND);
	inband_refused(p, VHU_VRING_KICK, &one, sizeof(one), "VRING_KICK|INBAND_NOTIFICATIONS");
	drv_net_echo(&p->drv, TX, 0, 5);
	assert_int_equal(drv_send(&p->drv, VHU_VRING_KICK, 0, &one, sizeof(one), NULL, 0), 0);
	assert_true(drv_is_closed(&p->drv));
}

static void kicks_that_cannot_be_are_refused(void **state)
{
	struct vhu_vring_state s = { TX, 0 };
	struct pair *p = inband_agreed(state, &inband_sink);

	inband_refused(p, VHU_VRING_KICK, &s, sizeof(s), "VRING_KICK|no memory yet");
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&p->drv);
	inband_refused(p, VHU_VRING_KICK, &s, sizeof(s), "VRING_KICK|no size yet");
	drv_do_state(&p->drv, VHU_SET_VRING_NUM, TX, 256);
	inband_refused(p, VHU_VRING_KICK, &s, sizeof(s), "VRING_KICK|no addresses yet");
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STOPPED_DISABLED);
	assert_int_equal(p->fix.ring[TX].started, 0);
	inband_set_ring(p, TX);
	s.num = 1;
	inband_refused(p, VHU_VRING_KICK, &s, sizeof(s), "VRING_KICK|num 1");
	/* where the ring cannot run, a kick does not make it */
	drv_do_state(&p->drv, VHU_SET_VRING_BASE, TX, 0);
	drv_enable_ring(&p->drv, TX, true);
	inband_send_frames(p, 4);
	/* no such ring: malformed, as in every message that names one */
	s = (struct vhu_vring_state){ 2, 0 };
	assert_int_equal(drv_ack(&p->drv, VHU_VRING_KICK, &s, sizeof(s), NULL, 0), -ECONNRESET);
	fixture_settle();
	fixture_check_reason(&p->fix, "VRING_KICK|ring index 2");
}

static void a_flood_of_kicks_is_no_more_than_many_kicks(void **state)
{
	const struct vhu_vring_state one = { TX, 0 };
	struct pair *p = inband_running(state, &inband_sink);

	for (unsigned int i = 0; i < 20000; i++)
		assert_int_equal(drv_send(&p->drv, VHU_VRING_KICK, 0, &one, sizeof(one), NULL, 0),
				 0);
	inband_goes_on(p);
	assert_int_equal(fixture_frames(&p->fix), 0);
	inband_send_frames(p, 10);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
}

static void a_kick_fd_is_preferred_and_a_message_does_no_harm(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);
	uint64_t count;

	inband_send_frames(p, 2);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_KICK, TX, p->drv.ring[TX].kick_fd);
	inband_put_frames(p, 3);
	drv_ring_kick_always(&p->drv.ring[TX]);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 5));
	fixture_settle();
	assert_int_equal(read(p->drv.ring[TX].kick_fd, &count, sizeof(count)), sizeof(count));
	inband_put_frames(p, 1);
	inband_kick(p, TX);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 6));
	/* the frontend's own eventfd, which may block, is not written by that */
	assert_int_equal(read(p->drv.ring[TX].kick_fd, &count, sizeof(count)), -1);
	inband_goes_on(p);
}

/*
 * ---- A ring that runs by messages alone is not touched while it is disabled ----
 */
static void a_disabled_ring_is_left_alone_and_goes_on_when_enabled(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	inband_send_frames(p, 3);
	drv_enable_ring(&p->drv, TX, false);
	assert_false(p->fix.ring[TX].running);
	inband_put_frames(p, 4);
	inband_kick(p, TX);
	check_sleep_ms(40); /* others have a disabled ring emptied after 20 ms */
	fixture_settle();
	assert_int_equal(drv_net_reap(&p->drv, TX), 0);
	assert_int_equal(fixture_drops(&p->fix, VHU_NET_DROP_DISABLED), 0);
	drv_enable_ring(&p->drv, TX, true);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 7));
	fixture_settle();
	assert_int_equal(drv_net_reap(&p->drv, TX), 4);
	inband_goes_on(p);
}

static void a_ring_kicked_before_it_is_enabled_starts_then(void **state)
{
	struct pair *p = inband_agreed(state, &inband_sink);

	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&p->drv);
	inband_set_ring(p, TX);
	inband_put_frames(p, 2);
	inband_kick(p, TX);
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STOPPED_DISABLED);
	drv_enable_ring(&p->drv, TX, true);
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STARTED_ENABLED);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 2));
}

/* A driver that goes and comes again: the rings are disabled, and set up as new ones. */
static void rings_may_begin_anew_after_they_were_disabled(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	inband_send_frames(p, 5);
	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(&p->drv, i, false);
		drv_ring_reset(&p->drv.ring[i]);
	}
	drv_set_features(&p->drv, p->drv.features);
	drv_set_mem(&p->drv);
	for (unsigned int i = 0; i < 2; i++)
		inband_set_ring(p, i);
	for (unsigned int i = 0; i < 2; i++)
		drv_enable_ring(&p->drv, i, true);
	inband_kick(p, RX);
	drv_ring_want_calls(&p->drv.ring[TX], true);
	inband_send_frames(p, 3);
	assert_int_equal(fixture_frames(&p->fix), 8);
	inband_goes_on(p);
}

static void a_reset_device_starts_at_a_kick_alone(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	inband_send_frames(p, 1);
	drv_do(&p->drv, VHU_RESET_DEVICE, NULL, 0, NULL, 0);
	drv_enable_ring(&p->drv, TX, true);
	assert_int_equal(fixture_state(&p->fix, TX), VHU_RING_STOPPED_ENABLED);
	inband_send_frames(p, 2);
	inband_goes_on(p);
}

/*
 * ---- What it rests on ----
 */
static void it_needs_the_channel_and_acknowledgements(void **state)
{
	static const unsigned int missing[] = { VHU_P_BACKEND_REQ_BIT, VHU_P_REPLY_ACK_BIT };
	struct vhu_backend_options options = {
		.size = sizeof(options),
		.nr_rings = 2,
		.queue_num = 1,
		.features = FIXTURE_NET_FEATURES,
	};
	struct vhu_backend *backend;
	struct pair *p = inband_agreed(state, NULL);
	uint64_t value;

	for (unsigned int i = 0; i < 2; i++) {
		value = p->drv.protocol_offered & ~VHU_MASK(missing[i]);
		inband_refused(p, VHU_SET_PROTOCOL_FEATURES, &value, sizeof(value),
			       "INBAND_NOTIFICATIONS needs");
	}
	drv_disconnect(&p->drv);
	assert_true(check_until(fixture_pump(NULL), p->fix.closed == 1));
	assert_int_equal(drv_connect(&p->drv, p->fix.path), 0);
	/* at the begin nothing is acknowledged: the connection ends */
	assert_int_equal(drv_send(&p->drv, VHU_SET_PROTOCOL_FEATURES, VHU_MSG_NEED_REPLY, &value,
				  sizeof(value), NULL, 0),
			 0);
	assert_true(drv_is_closed(&p->drv));

	options.domain = p->fix.domain;
	for (unsigned int i = 0; i < 2; i++) {
		options.protocol_features =
			(VHU_BACKEND_PROTOCOL_FEATURES | INBAND) & ~VHU_MASK(missing[i]);
		assert_int_equal(vhu_backend_new(&backend, &options), -EINVAL);
	}
}

static void it_stays_agreed_while_rings_run(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);
	uint64_t without = p->drv.protocol_offered & ~INBAND;
	struct vhu_vring_state one = { TX, 0 };

	inband_refused(p, VHU_SET_PROTOCOL_FEATURES, &without, sizeof(without), "while rings run");
	inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	for (unsigned int i = 0; i < 2; i++)
		drv_stop_ring(&p->drv, i);
	drv_do_u64(&p->drv, VHU_SET_PROTOCOL_FEATURES, without);
	inband_refused(p, VHU_VRING_KICK, &one, sizeof(one), "INBAND_NOTIFICATIONS");
	/* and all is as with any other frontend */
	inband_set_ring(p, TX);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_KICK, TX, p->drv.ring[TX].kick_fd);
	inband_put_frames(p, 1);
	drv_ring_kick_always(&p->drv.ring[TX]);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 2));
	inband_is_silent(p);
	drv_stop_ring(&p->drv, TX);
	drv_do_u64(&p->drv, VHU_SET_PROTOCOL_FEATURES, without | INBAND);
	inband_set_ring(p, TX);
	inband_kick(p, TX);
	drv_net_reap(&p->drv, TX);
	drv_ring_want_calls(&p->drv.ring[TX], true);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
}

/* Room for a second region that is not there: only a frontend of this kind leaves it. */
static void a_memory_table_may_have_room_to_spare(void **state)
{
	struct vhu_mem_table table = { .nr = 1 };
	struct pair *p = inband_agreed(state, &inband_sink);
	int fds[2] = { p->drv.mem.region[0].fd, p->drv.mem.region[1].fd };

	drv_mem_wire_region(&p->drv.mem.region[0], &table.region[0]);
	assert_int_equal(drv_ack(&p->drv, VHU_SET_MEM_TABLE, &table, 8 + 2 * 32, fds, 1), 0);
	inband_goes_on(p);
	assert_int_equal(drv_ack(&p->drv, VHU_SET_MEM_TABLE, &table, 8 + 3 * 32, fds, 1),
			 -ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(a_kick_starts_the_ring_and_each_further_one_its_work),
		pair_test(a_kick_that_was_not_agreed_on_is_refused),
		pair_test(kicks_that_cannot_be_are_refused),
		pair_test(a_flood_of_kicks_is_no_more_than_many_kicks),
		pair_test(a_kick_fd_is_preferred_and_a_message_does_no_harm),
		pair_test(a_disabled_ring_is_left_alone_and_goes_on_when_enabled),
		pair_test(a_ring_kicked_before_it_is_enabled_starts_then),
		pair_test(rings_may_begin_anew_after_they_were_disabled),
		pair_test(a_reset_device_starts_at_a_kick_alone),
		pair_test(it_needs_the_channel_and_acknowledgements),
		pair_test(it_stays_agreed_while_rings_run),
		pair_test(a_memory_table_may_have_room_to_spare),
	};

	return cmocka_run_group_tests_name("inband", tests, NULL, NULL);
}
