/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* Calls as messages: what is told when, and that nothing is lost whatever becomes of the channel. */
#include <sys/socket.h>
#include <unistd.h>

#include "inband_fixture.h"

/*
 * ---- Calls ----
 */
static void a_call_comes_as_a_message(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	inband_is_silent(p);
	for (unsigned int i = 0; i < 3; i++) {
		inband_send_frames(p, 2);
		inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
		inband_is_silent(p);
		inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
		inband_is_silent(p);
	}
	assert_int_equal(p->fix.complaints, 0);
	inband_goes_on(p);
}

static void a_driver_that_wants_no_calls_gets_none(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	/* the first of a ring's life comes in any case */
	inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	drv_ring_want_calls(&p->drv.ring[TX], false);
	inband_put_frames(p, 4);
	inband_kick(p, TX);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&p->fix) == 5));
	inband_is_silent(p);
}

static void one_call_is_under_way_at_a_time(void **state)
{
	struct pair *p = inband_running(state, NULL);

	drv_net_fill(&p->drv, RX, UINT32_MAX);
	inband_kick(p, RX);
	/* echoed: both rings have something to tell, and go on having it */
	for (unsigned int i = 0; i < 30; i++) {
		drv_ring_set_used_event(&p->drv.ring[RX], drv_ring_used_idx(&p->drv.ring[RX]));
		inband_send_frames(p, 1);
	}
	inband_is_told(p, VHU_BACKEND_VRING_CALL, RX);
	inband_is_silent(p);
	/* the other's turn, though this one has called again */
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_is_silent(p);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, RX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	/* thirty calls have become two */
	inband_is_silent(p);
	inband_goes_on(p);
}

static void an_answer_that_nobody_waits_for_changes_nothing(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);

	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_CONFIG_CHANGE, 0);
	inband_send_frames(p, 1);
	inband_is_silent(p);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 1);
	fixture_check_reason(&p->fix, "ring 1|does not want");
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 1);
	assert_int_equal(p->fix.complaints, 1); /* said once */
	inband_goes_on(p);
}

static void a_full_channel_loses_nothing(void **state)
{
	struct pair *p = inband_prepared(state, &inband_sink);
	uint8_t junk[4096];
	size_t filled = 0;
	ssize_t n;
	int other;

	inband_set_channel(p, &other);
	drv_ring_want_calls(&p->drv.ring[TX], true);
	memset(junk, 0, sizeof(junk));
	while ((n = send(other, junk, sizeof(junk), MSG_DONTWAIT)) > 0)
		filled += (size_t)n;
	while ((n = send(other, junk, 1, MSG_DONTWAIT)) > 0)
		filled += (size_t)n;
	for (unsigned int i = 0; i < 100; i++)
		inband_send_frames(p, 1);
	inband_goes_on(p);
	while (filled) {
		n = recv(p->drv.channel, junk, filled < sizeof(junk) ? filled : sizeof(junk), 0);
		assert_true(n > 0);
		filled -= (size_t)n;
	}
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_silent(p);
	close(other);
}

static void a_call_waits_for_its_channel(void **state)
{
	struct pair *p = inband_prepared(state, &inband_sink);

	drv_ring_want_calls(&p->drv.ring[TX], true);
	inband_send_frames(p, 1);
	inband_set_channel(p, NULL);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	/* not answered: nobody knows whether it was heard */
	inband_set_channel(p, NULL);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	close(p->drv.channel);
	p->drv.channel = -1;
	inband_send_frames(p, 2);
	inband_goes_on(p);
	inband_set_channel(p, NULL);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_silent(p);
	/* garbage there costs the channel, and nothing else */
	assert_int_equal(send(p->drv.channel, "a message of no kind at all", 27, 0), 27);
	fixture_settle();
	inband_send_frames(p, 1);
	inband_goes_on(p);
	inband_set_channel(p, NULL);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
}

static void a_stopped_ring_keeps_silent(void **state)
{
	struct pair *p = inband_running(state, NULL);

	drv_net_fill(&p->drv, RX, UINT32_MAX);
	inband_kick(p, RX);
	for (unsigned int i = 0; i < 3; i++)
		inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, RX);
	for (unsigned int i = 0; i < 2; i++)
		drv_stop_ring(&p->drv, i);
	/* suspended: what was still to be told is not */
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_silent(p);
	/* it is told by the ring that starts again */
	inband_set_ring(p, TX);
	inband_kick(p, TX);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_send_frames(p, 2);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_goes_on(p);
}

static void a_disabled_ring_keeps_silent(void **state)
{
	struct pair *p = inband_running(state, NULL);

	drv_net_fill(&p->drv, RX, UINT32_MAX);
	inband_kick(p, RX);
	inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, RX);
	drv_enable_ring(&p->drv, TX, false);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	inband_is_silent(p);
	drv_enable_ring(&p->drv, TX, true);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_goes_on(p);
}

static void a_call_fd_is_preferred_and_none_means_no_calls(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);
	struct drv_ring *ring = &p->drv.ring[TX];

	inband_send_frames(p, 1);
	inband_is_told(p, VHU_BACKEND_VRING_CALL, TX);
	inband_answer(p, VHU_BACKEND_VRING_CALL, 0);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, TX, ring->call_fd);
	inband_send_frames(p, 1);
	assert_true(drv_ring_calls(ring) > 0);
	inband_is_silent(p);
	drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, TX, -1);
	inband_send_frames(p, 1);
	assert_int_equal(drv_ring_calls(ring), 0);
	inband_is_silent(p);
	inband_goes_on(p);
}

static void a_broken_ring_is_told(void **state)
{
	struct pair *p = inband_running(state, &inband_sink);
	struct drv_ring *ring = &p->drv.ring[TX];

	ring->avail_idx = (uint16_t)(ring->avail_idx + 1000);
	inband_kick(p, TX);
	inband_is_told(p, VHU_BACKEND_VRING_ERR, TX);
	inband_answer(p, VHU_BACKEND_VRING_ERR, 1);
	inband_is_silent(p);
	fixture_check_reason(&p->fix, "ring 1|does not want its errors");
	inband_goes_on(p);
}

/* Whatever was under way when a frontend of this kind left, nothing is kept of it. */
static void the_next_frontend_begins_from_nothing(void **state)
{
	struct pair *p = inband_prepared(state, &inband_sink);
	struct tally before;

	for (unsigned int i = 0; i < 16; i++) {
		if (i % 4)
			inband_set_channel(p,
					   NULL); /* 0: calls wait for a channel that never comes */
		for (unsigned int ring = 0; ring < 2; ring++)
			inband_kick(p, ring);
		drv_ring_want_calls(&p->drv.ring[TX], true);
		inband_send_frames(p, 2);
		if (i % 4 > 1)
			inband_is_told(p, VHU_BACKEND_VRING_CALL, TX); /* never answered */
		if (i % 4 == 3)
			drv_enable_ring(&p->drv, TX, false);
		drv_disconnect(&p->drv);
		assert_true(check_until(fixture_pump(NULL), p->fix.closed == i + 1));
		for (unsigned int ring = 0; ring < 2; ring++)
			drv_ring_reset(&p->drv.ring[ring]);
		if (i == 7)
			tally_take(&before);
		if (i == 15)
			break;
		assert_int_equal(drv_connect(&p->drv, p->fix.path), 0);
		inband_agree(p);
		inband_prepare(p);
	}
	tally_check(&before);
	assert_int_equal(p->fix.complaints, 0);
}

/*
 * ---- Under load: the driver sleeps until it is told, and never sleeps for ever ----
 */
static void wait_for_call(struct pair *p, unsigned int ring)
{
	struct drv channel = { .sock = p->drv.channel, .pump = fixture_pump };
	const uint64_t good = 0;
	struct vhu_msg msg;

	do {
		assert_int_equal(drv_recv(&channel, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.request, VHU_BACKEND_VRING_CALL);
		assert_int_equal(drv_send(&channel, VHU_BACKEND_VRING_CALL, VHU_MSG_REPLY, &good,
					  sizeof(good), NULL, 0),
				 0);
	} while (msg.state.index != ring);
}

static void no_call_is_lost_under_load(void **state)
{
	struct pair *p = inband_running(state, &(struct fixture_options){ .threaded = true });
	struct drv_ring *rx = &p->drv.ring[RX];
	uint8_t frame[200], back[2048];
	uint32_t number = 0, received = 0;
	size_t len;

	drv_net_fill(&p->drv, RX, UINT32_MAX);
	inband_kick(p, RX);
	while (received < 3000) {
		unsigned int burst = 1 + number % 7;

		drv_net_reap(&p->drv, TX);
		for (unsigned int i = 0; i < burst; i++) {
			drv_net_make(frame, sizeof(frame), number);
			if (drv_net_add(&p->drv, TX, frame, sizeof(frame), NULL) >= 0)
				number++;
		}
		/* no frame is lost either: fewer are under way than there are buffers */
		if (drv_ring_kick(&p->drv.ring[TX]))
			drv_do_state(&p->drv, VHU_VRING_KICK, TX, 0);
		while (received < number) {
			drv_ring_want_calls(rx, true);
			if (!drv_ring_has_used(rx))
				wait_for_call(p, RX);
			while (drv_net_receive(&p->drv, RX, back, sizeof(back), &len, NULL) == 1) {
				assert_true(drv_net_verify(back, len, received));
				received++;
			}
		}
		drv_net_fill(&p->drv, RX, UINT32_MAX);
	}
	inband_goes_on(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(a_call_comes_as_a_message),
		pair_test(a_driver_that_wants_no_calls_gets_none),
		pair_test(one_call_is_under_way_at_a_time),
		pair_test(an_answer_that_nobody_waits_for_changes_nothing),
		pair_test(a_full_channel_loses_nothing),
		pair_test(a_call_waits_for_its_channel),
		pair_test(a_stopped_ring_keeps_silent),
		pair_test(a_disabled_ring_keeps_silent),
		pair_test(a_call_fd_is_preferred_and_none_means_no_calls),
		pair_test(a_broken_ring_is_told),
		pair_test(the_next_frontend_begins_from_nothing),
		pair_test(no_call_is_lost_under_load),
	};

	return cmocka_run_group_tests_name("inband calls", tests, NULL, NULL);
}
