/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* Many frames through packed rings there and back, with a data thread, both sides sleeping. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "packed_fixture.h"

/* Receive buffers are small, so that a frame takes up to four of them: all are there, or none. */
enum {
	BUF = 400,
	BUFS = 4,
};

struct traffic {
	uint32_t nr, sent, received, reaped;
	uint32_t random, mark;
	/* Called between two frames; may change what it likes. */
	void (*meddle)(struct traffic *t);
};

static uint32_t next_random(struct traffic *t)
{
	t->random = t->random * 1664525 + 1013904223;
	return t->random >> 8;
}

static size_t size_of(uint32_t number)
{
	return 18 + (number * UINT32_C(2654435761) >> 8) % 1497;
}

static bool send_some(struct traffic *t)
{
	uint8_t frame[2048];
	uint32_t before = t->sent;

	while (t->sent < t->nr && (t->sent - t->received + 1) * BUFS <= rx->num) {
		size_t size = size_of(t->sent);
		struct drv_layout layout = { .nr = next_random(t) % 4,
					     .indirect = next_random(t) % 2 };

		for (unsigned int i = 0; i < layout.nr; i++)
			layout.cut[i] = 1 + next_random(t) % 40;
		drv_net_make(frame, size, t->sent);
		if (dp_net_add(tx, frame, size, &layout) < 0)
			break;
		t->sent++;
		if (next_random(t) % 4 == 0)
			dp_kick(tx);
	}
	if (t->sent != before)
		dp_kick(tx);
	return t->sent != before;
}

static bool take_some(struct traffic *t)
{
	uint8_t frame[2048];
	uint32_t before = t->received;
	unsigned int reaped = dp_net_reap(tx);
	size_t len;
	int ret;

	t->reaped += reaped;
	while ((ret = dp_net_receive(rx, frame, sizeof(frame), &len)) == 1) {
		assert_int_equal(len, size_of(t->received));
		assert_true(drv_net_verify(frame, len, t->received));
		t->received++;
	}
	assert_int_equal(ret, 0);
	dp_net_fill(rx, rx->num, BUF);
	return reaped || t->received != before;
}

static void wait_for_call(struct traffic *t)
{
	struct pollfd fds[3] = {
		{ .fd = p->drv.ring[0].call_fd, .events = POLLIN },
		{ .fd = p->drv.ring[1].call_fd, .events = POLLIN },
		{ .fd = vhu_backend_fd(p->fix.backend), .events = POLLIN },
	};

	dp_calls(rx);
	dp_calls(tx);
	dp_want_calls(rx, true);
	dp_want_calls(tx, true);
	/* Somebody has to say something: a kick or a call was lost otherwise. */
	if (!dp_has_used(rx) && !dp_has_used(tx) && poll(fds, 3, CHECK_PATIENCE_MS) == 0)
		fail_msg("lost: %u sent, %u received, %u given back, kick asked at %#x of %#x",
			 t->sent, t->received, t->reaped, dp_device_event(tx), tx->avail);
	dp_want_calls(rx, false);
	dp_want_calls(tx, false);
	fixture_pump(NULL);
}

static void run(struct traffic *t)
{
	t->random = 12345;
	dp_net_fill(rx, rx->num, BUF);
	while (t->received < t->nr || t->reaped < t->nr) {
		bool busy = send_some(t);

		busy |= take_some(t);
		if (t->meddle && t->received >= t->mark && t->received < t->nr) {
			t->mark = t->received + 50;
			t->meddle(t);
		}
		if (!busy)
			wait_for_call(t);
	}
	drv_check_in_step(&p->drv);
	assert_int_equal(fixture_frames(&p->fix), t->nr);
	assert_int_equal(p->fix.nr_full, 0);
	assert_int_equal(p->fix.complaints, 0);
}

static void threaded(void **state, uint32_t num, uint64_t with, uint64_t without)
{
	/* One mapping for both sides, or no race between them would ever be seen. */
	drv_mem_share_mapping(true);
	packed_running(state, &(struct fixture_options){ .threaded = true }, num, with, without);
	assert_true(drv_mem_shared_count() > 0);
}

static void frames_pass_in_rings_of_any_size(void **state)
{
	static const uint32_t sizes[] = { 5, 7, 64, 250 };

	for (unsigned int i = 0; i < 4; i++) {
		struct traffic t = { .nr = 10000 };

		threaded(state, sizes[i], 0, 0);
		run(&t);
		packed_again(state);
	}
}

static void frames_pass_without_event_index(void **state)
{
	struct traffic t = { .nr = 10000 };

	threaded(state, 100, 0, VHU_MASK(VHU_F_EVENT_IDX_BIT));
	run(&t);
}

static void frames_pass_in_order(void **state)
{
	struct traffic t = { .nr = 20000 };

	threaded(state, 100, VHU_MASK(VHU_F_IN_ORDER_BIT), 0);
	run(&t);
}

static void new_call_fds(struct traffic *t)
{
	(void)t;
	for (unsigned int i = 0; i < 2; i++) {
		struct drv_ring *lent = &p->drv.ring[i];

		close(lent->call_fd);
		lent->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(lent->call_fd >= 0);
		drv_do_vring_fd(&p->drv, VHU_SET_VRING_CALL, i, lent->call_fd);
	}
}

static void new_call_fd_loses_no_notification(void **state)
{
	struct traffic t = { .nr = 10000, .meddle = new_call_fds };

	threaded(state, 61, 0, 0);
	run(&t);
}

static void stop_and_start(struct traffic *t)
{
	/* The sender first: what it had in hand finds the receiver still there. */
	uint32_t tx_base = dp_stop_ring(tx), rx_base = dp_stop_ring(rx);

	assert_int_equal(tx_base >> 16, tx_base & 0xffff);
	assert_int_equal(rx_base >> 16, rx_base & 0xffff);
	dp_start_ring(rx, rx_base);
	dp_start_ring(tx, next_random(t) % 2 ? tx_base : tx_base & 0xffff);
}

static void stop_and_start_loses_no_frame(void **state)
{
	struct traffic t = { .nr = 10000, .meddle = stop_and_start };

	threaded(state, 61, 0, 0);
	run(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		packed_test(frames_pass_in_rings_of_any_size),
		packed_test(frames_pass_without_event_index),
		packed_test(frames_pass_in_order),
		packed_test(new_call_fd_loses_no_notification),
		packed_test(stop_and_start_loses_no_frame),
	};

	return cmocka_run_group_tests_name("packed traffic", tests, NULL, NULL);
}
