/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* Many frames of all sizes and layouts there and back, each verified, while things are changed. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend_fixture.h"

enum {
	WINDOW = 16,
	NR_FRAMES = 100000,
	NR_CHANGED = 20000,
};

struct traffic {
	struct pair *p;
	uint32_t sent, received, reaped;
	uint32_t nr;
	/* Called between two frames; may change what it likes. */
	void (*meddle)(struct traffic *t);
	bool by_calls; /* sleeps until it is called, as a guest does */
	uint32_t random;
	unsigned int turn;
};

static uint32_t next_random(struct traffic *t)
{
	t->random = t->random * 1664525 + 1013904223;
	return t->random >> 8;
}

static size_t size_of(uint32_t number)
{
	uint32_t x = number * UINT32_C(2654435761);

	return number % 10 == 9 ? 18 + (x >> 8) % 5000 : 18 + (x >> 8) % 1497;
}

static void random_layout(struct traffic *t, size_t size, struct drv_layout *ret_layout)
{
	unsigned int hdr_size = drv_net_hdr_size(&t->p->drv);

	memset(ret_layout, 0, sizeof(*ret_layout));
	ret_layout->indirect =
		next_random(t) % 2 && t->p->drv.features & VHU_MASK(VHU_F_INDIRECT_DESC_BIT);
	switch (next_random(t) % 4) {
	case 0:
		break;
	case 1:
		ret_layout->nr = 1;
		ret_layout->cut[0] = hdr_size;
		break;
	case 2:
		ret_layout->nr = 1 + next_random(t) % 6;
		for (unsigned int i = 0; i < ret_layout->nr; i++)
			ret_layout->cut[i] = 1 + next_random(t) % 300;
		break;
	default:
		ret_layout->nr = 2;
		ret_layout->cut[0] = hdr_size;
		ret_layout->cut[1] = 1 + (uint32_t)(next_random(t) % size);
		break;
	}
}

static bool send_some(struct traffic *t)
{
	static uint8_t frame[8192];
	struct drv_layout layout;
	uint32_t before = t->sent;

	while (t->sent < t->nr && t->sent - t->received < WINDOW) {
		size_t size = size_of(t->sent);

		drv_net_make(frame, size, t->sent);
		random_layout(t, size, &layout);
		if (drv_net_add(&t->p->drv, 1, frame, size, &layout) < 0)
			break;
		t->sent++;
		if (next_random(t) % 4 == 0)
			drv_ring_kick(&t->p->drv.ring[1]);
	}
	if (t->sent != before)
		drv_ring_kick(&t->p->drv.ring[1]);
	return t->sent != before;
}

static bool take_some(struct traffic *t)
{
	static uint8_t frame[8192];
	uint32_t before = t->received;
	unsigned int reaped = drv_net_reap(&t->p->drv, 1);
	size_t len;
	int ret;

	t->reaped += reaped;
	while ((ret = drv_net_receive(&t->p->drv, 0, frame, sizeof(frame), &len, NULL)) == 1) {
		assert_int_equal(len, size_of(t->received));
		assert_true(drv_net_verify(frame, len, t->received));
		t->received++;
	}
	assert_int_equal(ret, 0);
	if (t->received != before)
		drv_net_fill(&t->p->drv, 0, UINT32_MAX);
	return reaped || t->received != before;
}

static void wait_for_call(struct traffic *t)
{
	struct drv *drv = &t->p->drv;
	struct pollfd fds[3] = {
		{ .fd = drv->ring[0].call_fd, .events = POLLIN },
		{ .fd = drv->ring[1].call_fd, .events = POLLIN },
		{ .fd = vhu_backend_fd(t->p->fix.backend), .events = POLLIN },
	};

	for (unsigned int i = 0; i < 2; i++) {
		drv_ring_calls(&drv->ring[i]);
		drv_ring_want_calls(&drv->ring[i], true);
	}
	if (!drv_ring_has_used(&drv->ring[0]) && !drv_ring_has_used(&drv->ring[1])) {
		/* Somebody has to say something: a kick or a call was lost otherwise. */
		if (poll(fds, 3, CHECK_PATIENCE_MS) == 0)
			fail_msg(
				"lost: %u sent, %u received, %u given back, kick asked at %u of %u",
				t->sent, t->received, t->reaped,
				drv_ring_avail_event(&drv->ring[1]), drv->ring[1].avail_idx);
	}
	for (unsigned int i = 0; i < 2; i++)
		drv_ring_want_calls(&drv->ring[i], false);
	fixture_pump(NULL);
}

static void run(struct traffic *t)
{
	int64_t end = check_now_ms() + CHECK_PATIENCE_MS;
	uint32_t mark = 0;

	t->random = 12345;
	drv_net_fill(&t->p->drv, 0, UINT32_MAX);
	while (t->received < t->nr || t->reaped < t->nr) {
		bool busy = send_some(t);

		busy |= take_some(t);
		if (t->meddle && t->received >= mark && t->received < t->nr) {
			mark = t->received + 50;
			t->meddle(t);
		}
		if (!t->by_calls)
			busy |= fixture_pump(NULL);
		else if (!busy)
			wait_for_call(t);
		if (busy)
			end = check_now_ms() + CHECK_PATIENCE_MS;
		else if (!t->by_calls)
			check_pause();
		assert_true(check_now_ms() < end);
	}
	drv_check_in_step(&t->p->drv);
	assert_int_equal(fixture_frames(&t->p->fix), t->nr);
	assert_int_equal(t->p->fix.nr_full, 0);
	assert_int_equal(t->p->fix.complaints, 0);
}

static struct pair *traffic_pair(void **state, bool threaded, uint32_t slot_size,
				 uint64_t no_features)
{
	/* One mapping for both sides, or no race between them would ever be seen. */
	drv_mem_share_mapping(threaded);
	struct pair *p = pair_up(state, &(struct fixture_options){ .threaded = threaded },
				 &(struct drv_options){ .slot_size = slot_size,
							.nr_slots = 200,
							.no_features = no_features });

	drv_start(&p->drv);
	if (threaded)
		assert_true(drv_mem_shared_count() > 0);
	return p;
}

static int traffic_teardown(void **state)
{
	int ret = pair_teardown(state);

	drv_mem_share_mapping(false);
	return ret;
}

static void echo_on_one_thread(void **state)
{
	struct traffic t = { .p = traffic_pair(state, false, 6144, 0), .nr = NR_FRAMES };

	run(&t);
}

static void echo_with_a_data_thread(void **state)
{
	struct traffic t = { .p = traffic_pair(state, true, 6144, 0),
			     .nr = NR_FRAMES,
			     .by_calls = true };

	run(&t);
}

static void echo_without_event_index_and_indirect(void **state)
{
	struct traffic t = {
		.p = traffic_pair(state, true, 6144,
				  VHU_MASK(VHU_F_EVENT_IDX_BIT) |
					  VHU_MASK(VHU_F_INDIRECT_DESC_BIT)),
		.nr = NR_CHANGED,
		.by_calls = true,
	};

	run(&t);
}

/*
 * ---- Changes under traffic ----
 */
static void new_call_fds(struct traffic *t)
{
	struct drv *drv = &t->p->drv;

	for (unsigned int i = 0; i < 2; i++) {
		close(drv->ring[i].call_fd);
		drv->ring[i].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(drv->ring[i].call_fd >= 0);
		drv_do_vring_fd(drv, VHU_SET_VRING_CALL, i, drv->ring[i].call_fd);
	}
}

static void new_kick_fds(struct traffic *t)
{
	struct drv *drv = &t->p->drv;

	for (unsigned int i = 0; i < 2; i++) {
		close(drv->ring[i].kick_fd);
		drv->ring[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(drv->ring[i].kick_fd >= 0);
		drv_do_vring_fd(drv, VHU_SET_VRING_KICK, i, drv->ring[i].kick_fd);
	}
}

static void new_table(struct traffic *t)
{
	drv_set_mem_table(&t->p->drv, 0, t->turn++ % 2 ? 1 : 2);
}

static void stop_and_start(struct traffic *t)
{
	struct drv *drv = &t->p->drv;
	/* The sender first: what it had in hand finds the receiver still there. */
	uint16_t tx = drv_stop_ring(drv, 1);
	uint16_t rx = drv_stop_ring(drv, 0);

	assert_int_equal(tx, drv_ring_used_idx(&drv->ring[1]));
	assert_int_equal(rx, drv_ring_used_idx(&drv->ring[0]));
	drv_start_ring(drv, 0, rx);
	drv_start_ring(drv, 1, tx);
}

static void new_log_and_features(struct traffic *t)
{
	uint64_t bit = VHU_MASK(VHU_F_LOG_ALL_BIT);

	drv_set_features(&t->p->drv, t->p->drv.features ^ bit);
}

static void all_in_turn(struct traffic *t)
{
	static void (*const deeds[])(struct traffic * t) = { new_call_fds, new_kick_fds, new_table,
							     stop_and_start, new_log_and_features };

	deeds[t->turn++ % 5](t);
}

static void changed(void **state, void (*meddle)(struct traffic *t))
{
	struct traffic t = { .p = traffic_pair(state, true, 6144, 0),
			     .nr = NR_CHANGED,
			     .by_calls = true,
			     .meddle = meddle };

	run(&t);
}

static void new_call_fd_under_traffic_loses_no_notification(void **state)
{
	changed(state, new_call_fds);
}

static void new_kick_fd_under_traffic_loses_no_notification(void **state)
{
	changed(state, new_kick_fds);
}

static void memory_table_under_traffic_loses_no_frame(void **state)
{
	changed(state, new_table);
}

static void stop_and_start_under_traffic_loses_no_frame(void **state)
{
	changed(state, stop_and_start);
}

static void features_under_traffic_lose_no_frame(void **state)
{
	changed(state, new_log_and_features);
}

static void everything_under_traffic_loses_no_frame(void **state)
{
	changed(state, all_in_turn);
}

#define traffic_test(name) cmocka_unit_test_setup_teardown(name, pair_setup, traffic_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		traffic_test(echo_on_one_thread),
		traffic_test(echo_with_a_data_thread),
		traffic_test(echo_without_event_index_and_indirect),
		traffic_test(new_call_fd_under_traffic_loses_no_notification),
		traffic_test(new_kick_fd_under_traffic_loses_no_notification),
		traffic_test(memory_table_under_traffic_loses_no_frame),
		traffic_test(stop_and_start_under_traffic_loses_no_frame),
		traffic_test(features_under_traffic_lose_no_frame),
		traffic_test(everything_under_traffic_loses_no_frame),
	};

	return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
