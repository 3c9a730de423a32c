/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Where frames go, between ports that are made of memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "switch/forward.h"

enum {
	NR_PORTS = 5,
	NR_QUEUES = 2,
	MAX_SEEN = 64
};

/* A port that keeps what it is given. */
struct fake {
	struct sw_port port;
	struct sw_queue queue[NR_QUEUES];
	struct sw_touch touch[NR_QUEUES];
	struct sw_counters counters[NR_QUEUES];
	unsigned int room; /* frames until its ring is full */
	bool makes_room;   /* at each commit */
	int refuses;	   /* with what it answers instead of taking a frame; 0: it takes it */
	uint64_t slow_ns, ready_ns; /* how long it needs for a frame; 0: it has room, or not */
	unsigned int pushes, commits, rewinds, locks;
	unsigned int nr_seen;
	uint8_t seen[MAX_SEEN][128];
	uint32_t seen_len[MAX_SEEN];
	unsigned int seen_queue[MAX_SEEN];
};

struct bench {
	struct fake fake[NR_PORTS];
	struct sw_view view;
	struct sw_forward fwd;
	unsigned int agings;
};

static struct fake *fake_of(const struct sw_queue *queue)
{
	return queue->port->kind;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int fake_push(struct sw_queue *queue, const struct vhu_net_frame *frame)
{
	struct fake *fake = fake_of(queue);

	fake->pushes++;
	if (fake->refuses)
		return fake->refuses;
	if (fake->slow_ns) {
		if (now_ns() < fake->ready_ns)
			return -ENOSPC;
		fake->ready_ns = now_ns() + fake->slow_ns;
	}
	if (!fake->room)
		return -ENOSPC;
	fake->room--;
	if (fake->nr_seen < MAX_SEEN) {
		memcpy(fake->seen[fake->nr_seen], frame->head, frame->head_len);
		fake->seen_len[fake->nr_seen] = frame->len;
		fake->seen_queue[fake->nr_seen] = queue->index;
	}
	fake->nr_seen++;
	return 0;
}

static int fake_commit(struct sw_queue *queue)
{
	struct fake *fake = fake_of(queue);

	fake->commits++;
	if (fake->makes_room)
		fake->room = 4;
	return 0;
}

static void fake_rewind(struct sw_queue *queue)
{
	fake_of(queue)->rewinds++;
}

static bool fake_trylock(struct sw_queue *queue)
{
	fake_of(queue)->locks++;
	return true;
}

static void fake_unlock(struct sw_queue *queue)
{
	fake_of(queue)->locks--;
}

static uint32_t fake_caps(const struct sw_queue *queue)
{
	(void)queue;
	return UINT32_MAX;
}

static const struct sw_port_ops fake_ops = {
	.kind = "fake",
	.caps = fake_caps,
	.trylock = fake_trylock,
	.unlock = fake_unlock,
	.push = fake_push,
	.commit = fake_commit,
	.rewind = fake_rewind,
};

static void on_aging(void *arg)
{
	struct bench *bench = arg;

	bench->agings++;
}

static int setup(void **state)
{
	static const uint64_t seed[2] = { 1, 2 };
	struct bench *bench = aligned_alloc(64, (sizeof(*bench) + 63) & ~(size_t)63);

	if (!bench)
		return -1;
	memset(bench, 0, sizeof(*bench));
	for (uint16_t i = 0; i < NR_PORTS; i++) {
		struct fake *fake = &bench->fake[i];

		fake->port.ops = &fake_ops;
		fake->port.kind = fake;
		fake->port.slot = i;
		fake->port.nr_queues = NR_QUEUES;
		fake->port.queue = fake->queue;
		fake->room = UINT32_MAX;
		for (uint16_t q = 0; q < NR_QUEUES; q++) {
			fake->queue[q].port = &fake->port;
			fake->queue[q].index = q;
			fake->queue[q].touch = &fake->touch[q];
			fake->queue[q].counters = &fake->counters[q];
		}
		sw_port_set_up(&fake->port, 0, true);
		bench->view.slot[i] = &fake->port;
		bench->view.member[bench->view.nr_members++] = &fake->port;
	}
	bench->fwd.aging = on_aging;
	bench->fwd.arg = bench;
	*state = bench;
	return sw_fdb_new(&bench->fwd.fdb, 64, SW_PORTS_MAX, seed);
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	for (int i = 0; i < NR_PORTS; i++)
		if (bench->fake[i].locks)
			return -1;
	sw_fdb_free(bench->fwd.fdb);
	free(bench);
	return 0;
}

/* Sends one frame of 64 bytes from a port: stations are numbers, 0xff is everybody. */
static void send_tagged(struct bench *bench, unsigned int port, uint8_t to, uint8_t from, int tci)
{
	uint8_t bytes[64] = { 2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5 };
	struct vhu_net_frame frame = { .len = 64, .head_len = 64, .head = bytes };

	if (to == 0xff)
		memset(bytes, 0xff, 6);
	if (tci >= 0) {
		bytes[12] = 0x81;
		bytes[13] = 0;
		bytes[14] = (uint8_t)(tci >> 8);
		bytes[15] = (uint8_t)tci;
	}
	sw_forward_burst(&bench->fwd, &bench->view, &bench->fake[port].queue[0], &frame, 1);
}

static void send_frame(struct bench *bench, unsigned int port, uint8_t to, uint8_t from)
{
	send_tagged(bench, port, to, from, -1);
}

static void saw(struct bench *bench, const unsigned int nr[NR_PORTS])
{
	for (int i = 0; i < NR_PORTS; i++) {
		if (bench->fake[i].nr_seen != nr[i])
			fail_msg("port %d saw %u frames, not %u", i, bench->fake[i].nr_seen, nr[i]);
		bench->fake[i].nr_seen = 0;
	}
}
#define SAW(...) saw(bench, (const unsigned int[NR_PORTS]){ __VA_ARGS__ })

static void unknown_stations_are_flooded_and_known_ones_are_not(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 0, 2, 1);
	SAW(0, 1, 1, 1, 1);
	assert_int_equal(bench->agings, 1);
	send_frame(bench, 1, 1, 2);
	SAW(1, 0, 0, 0, 0);
	send_frame(bench, 0, 2, 1);
	SAW(0, 1, 0, 0, 0);
	assert_int_equal(bench->agings, 1);
	assert_int_equal(bench->fake[0].counters[0].rx_frames, 2);
	assert_int_equal(bench->fake[0].counters[0].rx_bytes, 128);
	assert_int_equal(bench->fake[1].counters[0].tx_frames, 2);
	assert_int_equal(bench->fake[1].counters[0].tx_bytes, 128);
}

static void everybody_means_all_but_the_sender(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 3, 0xff, 1);
	SAW(1, 1, 1, 0, 1);
}

static void a_frame_does_not_return_where_it_came_from(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 0, 9, 1);
	send_frame(bench, 0, 9, 2);
	SAW(0, 2, 2, 2, 2);
	send_frame(bench, 0, 1, 2);
	SAW(0, 0, 0, 0, 0);
	assert_int_equal(bench->fake[0].counters[0].rx_drop_same_port, 1);
}

static void a_station_moves_with_its_first_frame(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 0, 0xff, 1);
	send_frame(bench, 2, 0xff, 1);
	SAW(1, 2, 1, 2, 2);
	send_frame(bench, 4, 1, 3);
	SAW(0, 0, 1, 0, 0);
}

static void vlans_are_kept_apart_and_tags_are_the_ports_affair(void **state)
{
	struct bench *bench = *state;
	const struct sw_vlans access7 = { .mode = SW_VLAN_ACCESS, .access = 7 };
	const struct sw_vlans trunk = { .mode = SW_VLAN_TRUNK, .trunk = { 1u << 7 | 1u << 9 } };

	bench->fake[0].port.spec.vlans = access7;
	bench->fake[1].port.spec.vlans = access7;
	bench->fake[2].port.spec.vlans = trunk;
	bench->fake[3].port.spec.vlans = (struct sw_vlans){ .mode = SW_VLAN_ACCESS, .access = 9 };

	/* Untagged in: untagged to the access port, tagged to the trunk, nothing to the others. */
	send_frame(bench, 0, 0xff, 1);
	assert_int_equal(bench->fake[1].seen_len[0], 64);
	assert_int_equal(bench->fake[2].seen_len[0], 68);
	assert_memory_equal(bench->fake[2].seen[0] + 12, "\x81\x00\x00\x07\x88\xb5", 6);
	SAW(0, 1, 1, 0, 0);
	/* A priority is carried on in the tag. */
	send_tagged(bench, 0, 0xff, 1, 0xa000);
	assert_memory_equal(bench->fake[2].seen[0] + 12, "\x81\x00\xa0\x07", 4);
	assert_int_equal(bench->fake[2].seen_len[0], 64);
	assert_int_equal(bench->fake[1].seen_len[0], 60);
	SAW(0, 1, 1, 0, 0);
	/* Tagged in by the trunk: untagged to the access port of that VLAN. */
	send_tagged(bench, 2, 0xff, 5, 9);
	assert_int_equal(bench->fake[3].seen_len[0], 60);
	SAW(0, 0, 0, 1, 0);
	/* The station of VLAN 9 is unknown in VLAN 7. */
	send_frame(bench, 0, 5, 1);
	SAW(0, 1, 1, 0, 0);
	send_tagged(bench, 0, 0xff, 1, 7);
	send_frame(bench, 2, 0xff, 5);
	SAW(0, 0, 0, 0, 0);
	assert_int_equal(bench->fake[0].counters[0].rx_drop_vlan, 1);
	assert_int_equal(bench->fake[2].counters[0].rx_drop_vlan, 1);
	/* Ports that know no VLANs are among themselves, tags and all. */
	send_tagged(bench, 4, 0xff, 6, 7);
	SAW(0, 0, 0, 0, 0);
	assert_int_equal(bench->fake[4].counters[0].rx_drop_no_port, 1);
}

/* A burst of frames of 64 bytes on port 0, from and to stations by the last byte of their addresses. */
static void send_burst(struct bench *bench, const uint8_t (*ways)[2], unsigned int nr)
{
	uint8_t bytes[MAX_SEEN][64] = { { 0 } };
	struct vhu_net_frame frames[MAX_SEEN] = { { .len = 0 } };

	for (unsigned int i = 0; i < nr; i++) {
		const uint8_t to = ways[i][0], from = ways[i][1];
		const uint8_t stations[12] = {
			to == 0xff ? 0xff : 2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from
		};

		memcpy(bytes[i], stations, sizeof(stations));
		bytes[i][20] = (uint8_t)i;
		frames[i] = (struct vhu_net_frame){ .len = 64, .head_len = 64, .head = bytes[i] };
	}
	sw_forward_burst(&bench->fwd, &bench->view, &bench->fake[0].queue[0], frames, nr);
}

/* What was decided for the frame before is good for the next one only if all of it is the same. */
static void frames_of_a_burst_go_each_its_own_way_in_order(void **state)
{
	static const uint8_t unknown[3][2] = { { 9, 1 }, { 9, 1 }, { 9, 1 } };
	static const uint8_t mixed[8][2] = { { 2, 1 },	  { 2, 1 },    { 3, 1 }, { 2, 1 },
					     { 0xff, 1 }, { 0xff, 1 }, { 2, 7 }, { 2, 7 } };
	static const uint8_t at_1[7] = { 0, 1, 3, 4, 5, 6, 7 }, at_2[3] = { 2, 4, 5 };
	struct bench *bench = *state;

	for (unsigned int i = 0; i < NR_PORTS; i++)
		atomic_store(&bench->fake[i].port.tx_up[0], 1);
	send_frame(bench, 1, 0xff, 2);
	send_frame(bench, 2, 0xff, 3);
	SAW(2, 1, 1, 2, 2);
	send_burst(bench, unknown, 3);
	SAW(0, 3, 3, 3, 3);
	send_burst(bench, mixed, 8);
	assert_int_equal(bench->fake[1].nr_seen, 7);
	for (unsigned int i = 0; i < 7; i++)
		assert_int_equal(bench->fake[1].seen[i][20], at_1[i]);
	assert_int_equal(bench->fake[2].nr_seen, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(bench->fake[2].seen[i][20], at_2[i]);
	SAW(0, 7, 3, 2, 2);
	/* and the other source was learnt too */
	send_frame(bench, 1, 7, 2);
	SAW(1, 0, 0, 0, 0);
}

static void a_full_ring_is_waited_for_once(void **state)
{
	struct bench *bench = *state;
	struct fake *full = &bench->fake[1];
	unsigned int pushes;

	send_frame(bench, 1, 0xff, 2);
	full->room = 1;
	send_frame(bench, 0, 2, 1);
	assert_int_equal(full->nr_seen, 1);
	send_frame(bench, 0, 2, 1);
	assert_int_equal(full->counters[0].tx_drop_rx_full, 1);
	assert_true(full->touch[0].is_stuck);
	/* No second wait for who has let the first pass. */
	pushes = full->pushes;
	send_frame(bench, 0, 2, 1);
	assert_int_equal(full->pushes, pushes + 1);
	assert_int_equal(full->counters[0].tx_drop_rx_full, 2);
	/* Until it takes a frame. */
	full->room = 1;
	send_frame(bench, 0, 2, 1);
	assert_false(full->touch[0].is_stuck);
	assert_int_equal(full->counters[0].tx_frames, 2);
	assert_int_equal(full->counters[0].tx_drop_rx_full, 2);
}

/* Whoever never empties its ring costs the others one look a burst, and no wait but the first. */
static void a_full_receiver_is_tried_once_a_burst(void **state)
{
	static const uint8_t ways[32][2] = { { 2, 1 }, { 3, 1 }, { 2, 1 },
					     { 2, 1 }, { 3, 1 }, { 2, 1 } };
	struct bench *bench = *state;
	struct fake *full = &bench->fake[1], *other = &bench->fake[2];
	unsigned int pushes;

	send_frame(bench, 1, 0xff, 2);
	send_frame(bench, 2, 0xff, 3);
	full->room = 0;
	send_frame(bench, 0, 2, 1);
	assert_true(full->touch[0].is_stuck);
	pushes = full->pushes;
	other->counters[0].tx_frames = 0;
	full->counters[0].tx_drop_rx_full = 0;
	for (unsigned int i = 0; i < 100; i++)
		send_burst(bench, ways, 6);
	assert_int_equal(full->pushes, pushes + 100);
	assert_int_equal(full->counters[0].tx_drop_rx_full, 400);
	assert_int_equal(other->counters[0].tx_frames, 200);
}

/* Taking one frame now and then does not buy another wait each time. */
static void who_let_a_wait_pass_has_to_take_frames_first(void **state)
{
	struct bench *bench = *state;
	struct fake *slow = &bench->fake[1];
	unsigned int pushes;

	send_frame(bench, 1, 0xff, 2);
	slow->room = 0;
	send_frame(bench, 0, 2, 1);
	for (unsigned int i = 0; i + 1 < SW_OWED_MIN; i++) {
		slow->room = 1;
		send_frame(bench, 0, 2, 1);
		pushes = slow->pushes;
		send_frame(bench, 0, 2, 1);
		assert_int_equal(slow->pushes, pushes + 1);
	}
	/* that was all but one; with this one it is waited for again, in vain, and owes twice as many */
	slow->room = 1;
	send_frame(bench, 0, 2, 1);
	pushes = slow->pushes;
	send_frame(bench, 0, 2, 1);
	assert_true(slow->pushes > pushes + 1);
	assert_int_equal(slow->touch[0].owed, 2 * SW_OWED_MIN);
}

/* It would only cost as much time with each of the rest; and to wait is of no use. */
static void who_had_its_share_of_time_gets_none_of_the_rest(void **state)
{
	static const uint8_t ways[5][2] = { { 2, 1 }, { 2, 1 }, { 3, 1 }, { 2, 1 }, { 2, 1 } };
	struct bench *bench = *state;
	struct fake *odd = &bench->fake[1];

	send_frame(bench, 1, 0xff, 2);
	send_frame(bench, 2, 0xff, 3);
	bench->fake[2].counters[0].tx_frames = 0;
	odd->refuses = -EAGAIN;
	odd->pushes = 0;
	send_burst(bench, ways, 5);
	assert_int_equal(odd->pushes, 1);
	assert_int_equal(odd->counters[0].tx_drop_rx_full, 4);
	assert_false(odd->touch[0].is_stuck);
	assert_int_equal(bench->fake[2].counters[0].tx_frames, 1);
}

/* Who makes room for one frame at the last moment, again and again, does not hold all others up. */
static void all_waits_of_a_burst_have_an_end(void **state)
{
	uint8_t each[MAX_SEEN][2];
	const uint8_t(*const ways)[2] = (const uint8_t(*)[2])each;
	struct bench *bench = *state;
	struct fake *slow = &bench->fake[1];

	for (unsigned int i = 0; i < MAX_SEEN; i++) {
		each[i][0] = 2;
		each[i][1] = 1;
	}
	send_frame(bench, 1, 0xff, 2);
	slow->slow_ns = SW_RETRY_NS * 4 / 5;
	send_burst(bench, ways, MAX_SEEN);
	/* with some room for frames that need not be waited for, since something else ran meanwhile */
	assert_in_range(slow->counters[0].tx_frames, 1, SW_WAITS_NS / slow->slow_ns + MAX_SEEN / 4);
	assert_int_equal(slow->counters[0].tx_frames + slow->counters[0].tx_drop_rx_full, MAX_SEEN);
	/* The next burst begins afresh, unless one wait was in vain. */
	if (!slow->touch[0].owed) {
		slow->counters[0].tx_frames = 0;
		send_burst(bench, ways, 3);
		assert_true(slow->counters[0].tx_frames > 1 || slow->touch[0].owed);
	}
}

static void what_is_in_a_full_ring_is_published_before_waiting(void **state)
{
	static const uint8_t ways[10][2] = { { 2, 1 }, { 2, 1 }, { 2, 1 }, { 2, 1 }, { 2, 1 },
					     { 2, 1 }, { 2, 1 }, { 2, 1 }, { 2, 1 }, { 2, 1 } };
	struct bench *bench = *state;
	struct fake *fake = &bench->fake[1];

	send_frame(bench, 1, 0xff, 2);
	fake->room = 4;
	fake->makes_room = true;
	fake->commits = 0;
	send_burst(bench, ways, 10);
	assert_int_equal(fake->nr_seen, 10);
	assert_int_equal(fake->commits, 3);
	assert_int_equal(fake->counters[0].tx_frames, 10);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(fake->seen[i][20], i);
}

static void the_mtu_of_a_port_is_kept_by_the_sender(void **state)
{
	struct bench *bench = *state;

	atomic_store(&bench->fake[1].port.mtu, 40);
	send_frame(bench, 0, 0xff, 1);
	SAW(0, 0, 1, 1, 1);
	assert_int_equal(bench->fake[1].counters[0].tx_drop_mtu, 1);
}

static void a_port_without_a_ring_drops_what_is_meant_for_it(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 1, 0xff, 2);
	sw_port_set_up(&bench->fake[1].port, 0, false);
	SAW(1, 0, 1, 1, 1);
	send_frame(bench, 0, 2, 1);
	SAW(0, 0, 0, 0, 0);
	assert_int_equal(bench->fake[1].counters[0].tx_drop_not_ready, 1);
	/* Nobody is missed when everybody is meant. */
	send_frame(bench, 0, 0xff, 1);
	SAW(0, 0, 1, 1, 1);
	assert_int_equal(bench->fake[1].counters[0].tx_drop_not_ready, 1);
}

static void stations_of_a_port_that_has_gone_are_flooded_for(void **state)
{
	struct bench *bench = *state;

	send_frame(bench, 1, 0xff, 2);
	SAW(1, 0, 1, 1, 1);
	bench->view.slot[1] = NULL;
	send_frame(bench, 0, 2, 1);
	SAW(0, 1, 1, 1, 1); /* it is a member still: the view is the test's */
}

static void queues_in_equal_number_are_paired_and_others_chosen_by_flow(void **state)
{
	struct bench *bench = *state;

	sw_port_set_up(&bench->fake[0].port, 1, true);
	sw_port_set_up(&bench->fake[1].port, 1, true);
	send_frame(bench, 1, 0xff, 2);
	send_frame(bench, 2, 0xff, 3);
	SAW(2, 1, 1, 2, 2);
	send_frame(bench, 0, 2, 1);
	assert_int_equal(bench->fake[1].seen_queue[0], 0);
	SAW(0, 1, 0, 0, 0);
	/* From one queue to two: each of many senders stays on one, and both are used. */
	for (uint8_t from = 10; from < 40; from++) {
		send_frame(bench, 2, 2, from);
		send_frame(bench, 2, 2, from);
	}
	assert_int_equal(bench->fake[1].nr_seen, 60);
	assert_in_range(bench->fake[1].counters[1].tx_frames, 10, 50);
	for (unsigned int i = 0; i < 60; i += 2)
		assert_int_equal(bench->fake[1].seen_queue[i], bench->fake[1].seen_queue[i + 1]);
}

static void a_mirror_sees_each_frame_once(void **state)
{
	struct bench *bench = *state;

	bench->view.mirror[bench->view.nr_mirrors++] = &bench->fake[4].port;
	bench->view.nr_members--;
	send_frame(bench, 0, 0xff, 1);
	SAW(0, 1, 1, 1, 1);
	send_frame(bench, 1, 1, 2);
	SAW(1, 0, 0, 0, 1);
	/* Also what leads nowhere. */
	send_frame(bench, 0, 1, 3);
	SAW(0, 0, 0, 0, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(unknown_stations_are_flooded_and_known_ones_are_not),
		TEST(everybody_means_all_but_the_sender),
		TEST(a_frame_does_not_return_where_it_came_from),
		TEST(a_station_moves_with_its_first_frame),
		TEST(vlans_are_kept_apart_and_tags_are_the_ports_affair),
		TEST(frames_of_a_burst_go_each_its_own_way_in_order),
		TEST(a_full_ring_is_waited_for_once),
		TEST(a_full_receiver_is_tried_once_a_burst),
		TEST(who_let_a_wait_pass_has_to_take_frames_first),
		TEST(who_had_its_share_of_time_gets_none_of_the_rest),
		TEST(all_waits_of_a_burst_have_an_end),
		TEST(what_is_in_a_full_ring_is_published_before_waiting),
		TEST(the_mtu_of_a_port_is_kept_by_the_sender),
		TEST(a_port_without_a_ring_drops_what_is_meant_for_it),
		TEST(stations_of_a_port_that_has_gone_are_flooded_for),
		TEST(queues_in_equal_number_are_paired_and_others_chosen_by_flow),
		TEST(a_mirror_sees_each_frame_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
