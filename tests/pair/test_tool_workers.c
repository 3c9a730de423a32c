/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* Who takes frames from which queue, and when it is looked at: modes, and queues that change hands, in a whole switch. */
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vhu/net.h>

#include "driver.h"
#include "switch/switch.h"

enum {
	NR_PORTS = 2,
	NR_QUEUES = 4,
	NR_WORKERS = 4,
	FRAME_LEN = 300,
	IN_FLIGHT = 24, /* frames of a queue; fewer than its receiver has buffers */
};

struct lab {
	struct vhu_switch *sw;
	char dir[64];
	struct drv drv[NR_PORTS];
	bool is_up[NR_PORTS];
	uint32_t random, slot_size;
	/* Of the frames from port p, queue q, to the other port. */
	uint32_t sent[NR_PORTS][NR_QUEUES], received[NR_PORTS][NR_QUEUES];
};

static uint32_t random_below(struct lab *lab, uint32_t end)
{
	lab->random = lab->random * 1664525 + 1013904223;
	return (lab->random >> 8) % end;
}

static bool pump(void *arg)
{
	struct lab *lab = arg;
	struct pollfd pfd = { .fd = sw_fd(lab->sw), .events = POLLIN };

	if (poll(&pfd, 1, 0) != 1)
		return false;
	assert_int_equal(sw_process(lab->sw), 0);
	return true;
}

static void add_port(struct lab *lab, unsigned int i, const char *options)
{
	char spec[256], err[SW_ERR_MAX];

	snprintf(spec, sizeof(spec), "p%u=vhost-user:%s/p%u%s", i, lab->dir, i, options);
	if (sw_add_port(lab->sw, spec, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
}

static void plug(struct lab *lab, unsigned int i, unsigned int nr_queues)
{
	const struct drv_options options = { .nr_rings = 2 * nr_queues,
					     .slot_size = lab->slot_size };
	struct drv *drv = &lab->drv[i];
	char path[128];

	snprintf(path, sizeof(path), "%s/p%u", lab->dir, i);
	drv_init(drv, &options);
	drv->pump = pump;
	drv->pump_arg = lab;
	assert_int_equal(drv_connect(drv, path), 0);
	drv_start(drv);
	for (unsigned int ring = 0; ring < 2 * nr_queues; ring += 2)
		drv_net_fill(drv, ring, UINT32_MAX);
	lab->is_up[i] = true;
	/* All rings are known to run. */
	drv_check_in_step(drv);
}

static void unplug(struct lab *lab, unsigned int i)
{
	if (lab->is_up[i])
		drv_free(&lab->drv[i]);
	lab->is_up[i] = false;
}

static struct lab *new_lab(void **state, unsigned int nr_workers)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	const struct sw_options options = { .nr_workers = nr_workers };

	assert_non_null(lab);
	lab->random = 1;
	strcpy(lab->dir, "/tmp/vhu-workers-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	assert_int_equal(sw_new(&lab->sw, &options), 0);
	assert_int_equal(sw_start(lab->sw), 0);
	*state = lab;
	return lab;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	sw_stop(lab->sw);
	for (unsigned int i = 0; i < NR_PORTS; i++)
		unplug(lab, i);
	sw_free(lab->sw);
	drv_mem_share_mapping(false);
	if (rmdir(lab->dir))
		return -1;
	free(lab);
	return 0;
}

/* ---- Frames that are numbered, from one port to the other ---- */

static void make_frame(uint8_t *frame, unsigned int from, uint32_t number)
{
	drv_net_make(frame, FRAME_LEN, number);
	frame[5] = (uint8_t)(1 - from);
	frame[11] = (uint8_t)from;
}

static void add_frame(struct lab *lab, unsigned int from, unsigned int queue)
{
	uint8_t frame[FRAME_LEN];

	make_frame(frame, from, lab->sent[from][queue]);
	assert_true(drv_net_add(&lab->drv[from], 2 * queue + 1, frame, sizeof(frame), NULL) >= 0);
	lab->sent[from][queue]++;
}

/* Takes what has arrived of the frames from there; each has to be the next one, and whole. */
static void receive(struct lab *lab, unsigned int from, unsigned int queue)
{
	struct drv *drv = &lab->drv[1 - from];
	uint8_t frame[4096], expected[FRAME_LEN];
	size_t len;
	int ret;

	while ((ret = drv_net_receive(drv, 2 * queue, frame, sizeof(frame), &len, NULL)) > 0) {
		make_frame(expected, from, lab->received[from][queue]);
		assert_int_equal(len, sizeof(expected));
		assert_memory_equal(frame, expected, sizeof(expected));
		lab->received[from][queue]++;
	}
	assert_int_equal(ret, 0);
	drv_net_fill(drv, 2 * queue, UINT32_MAX);
	drv_net_reap(&lab->drv[from], 2 * queue + 1);
}

static bool all_is_received(struct lab *lab, unsigned int from, unsigned int queue)
{
	receive(lab, from, queue);
	return lab->received[from][queue] == lab->sent[from][queue];
}

/* Each side tells its address, or the first frames would be flooded, which is no different here. */
static void exchange(struct lab *lab, unsigned int queue)
{
	for (unsigned int from = 0; from < NR_PORTS; from++) {
		add_frame(lab, from, queue);
		drv_ring_kick(&lab->drv[from].ring[2 * queue + 1]);
		if (!check_until(pump(lab), all_is_received(lab, from, queue)))
			fail_msg("from port %u, queue %u: %u sent, %u received", from, queue,
				 lab->sent[from][queue], lab->received[from][queue]);
	}
}

static struct sw_counters counted(struct lab *lab, const char *name, unsigned int queue)
{
	struct sw_counters counters;

	assert_int_equal(sw_port_queue_counters(lab->sw, name, queue, &counters), 0);
	return counters;
}

static void set_port(struct lab *lab, const char *name, int queue, const char *options)
{
	char err[SW_ERR_MAX];

	if (sw_set_port(lab->sw, name, queue, options, err, sizeof(err)))
		fail_msg("%s: %s", options, err);
}

/* Whether it is not looked at for some ms. */
static bool is_left_alone(struct lab *lab, const char *name)
{
	uint64_t visits = counted(lab, name, 0).rx_visits;

	check_sleep_ms(3);
	return counted(lab, name, 0).rx_visits == visits;
}

static void falls_asleep(struct lab *lab, const char *name)
{
	assert_true(check_until(pump(lab), is_left_alone(lab, name)));
}

/* ---- Tests ---- */

static void a_ring_in_mode_poll_needs_no_kick(void **state)
{
	struct lab *lab = new_lab(state, 1);

	add_port(lab, 0, ",mode=poll");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	exchange(lab, 0);
	for (int i = 0; i < 100; i++) {
		add_frame(lab, 0, 0);
		drv_ring_publish(&lab->drv[0].ring[1]);
		assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
		/* And none was asked for. */
		assert_false(drv_ring_kick(&lab->drv[0].ring[1]));
	}
}

static void an_empty_ring_in_mode_interrupt_is_armed_and_left_alone(void **state)
{
	struct lab *lab = new_lab(state, 1);
	uint64_t visits;

	add_port(lab, 0, ",mode=interrupt");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	exchange(lab, 0);
	for (int i = 0; i < 100; i++) {
		falls_asleep(lab, "p0");
		add_frame(lab, 0, 0);
		visits = counted(lab, "p0", 0).rx_visits;
		assert_true(drv_ring_kick(&lab->drv[0].ring[1]));
		assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
		falls_asleep(lab, "p0");
		/* One that finds the frame, one that finds nothing; the kick may be told of once more. */
		assert_in_range(counted(lab, "p0", 0).rx_visits - visits, 2, 3);
	}
}

static void idle_rings_are_not_looked_at_beside_a_busy_one(void **state)
{
	struct lab *lab = new_lab(state, 1);
	uint64_t idle, busy;

	add_port(lab, 0, ",mode=poll");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	exchange(lab, 0);
	falls_asleep(lab, "p1");
	idle = counted(lab, "p1", 0).rx_visits;
	busy = counted(lab, "p0", 0).rx_visits;
	for (int i = 0; i < 200; i++) {
		add_frame(lab, 0, 0);
		drv_ring_publish(&lab->drv[0].ring[1]);
		assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
	}
	assert_int_equal(counted(lab, "p1", 0).rx_visits, idle);
	assert_true(counted(lab, "p0", 0).rx_visits >= busy + 200);
}

/* What a visit has is given out at its end, and its sender and receiver wait for that. */
static void a_visit_takes_few_long_frames(void **state)
{
	enum {
		LONG = 60000,
		NR_FRAMES = 32,
		A_VISIT = 4, /* so many are about 256 KiB */
		EMPTY_MAX =
			4, /* visits that find nothing, also one that comes late on a busy machine */
	};
	struct lab *lab = new_lab(state, 1);
	struct sw_counters before, now;
	uint8_t frame[LONG] = { 0 };

	lab->slot_size = LONG + 1024;
	add_port(lab, 0, ",mode=interrupt");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	drv_net_make(frame, FRAME_LEN, 0);
	frame[5] = 1;
	frame[11] = 0;
	/* The first is not known to be so long. */
	drv_net_send(&lab->drv[0], 1, frame, LONG);
	assert_true(check_until(pump(lab), counted(lab, "p0", 0).rx_frames == 1));
	falls_asleep(lab, "p0");
	before = counted(lab, "p0", 0);
	for (int i = 0; i < NR_FRAMES; i++)
		assert_true(drv_net_add(&lab->drv[0], 1, frame, LONG, NULL) >= 0);
	drv_ring_kick(&lab->drv[0].ring[1]);
	assert_true(check_until(pump(lab), counted(lab, "p0", 0).rx_frames == 1 + NR_FRAMES));
	falls_asleep(lab, "p0");
	now = counted(lab, "p0", 0);
	assert_in_range(now.rx_visits - before.rx_visits, NR_FRAMES / A_VISIT,
			NR_FRAMES / A_VISIT + EMPTY_MAX);
}

static void modes_change_while_the_ring_runs(void **state)
{
	struct lab *lab = new_lab(state, 1);
	char err[SW_ERR_MAX];

	add_port(lab, 0, ",mode=interrupt");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	exchange(lab, 0);
	falls_asleep(lab, "p0");
	add_frame(lab, 0, 0);
	drv_ring_publish(&lab->drv[0].ring[1]);
	/* It sleeps, armed, and there is no kick: the change itself makes it look. */
	set_port(lab, "p0", -1, "mode=poll");
	assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
	add_frame(lab, 0, 0);
	drv_ring_publish(&lab->drv[0].ring[1]);
	assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
	set_port(lab, "p0", 0, "mode=adaptive");
	falls_asleep(lab, "p0");
	add_frame(lab, 0, 0);
	assert_true(drv_ring_kick(&lab->drv[0].ring[1]));
	assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));

	assert_int_equal(sw_set_port(lab->sw, "p0", 0, "mode=0660", err, sizeof(err)), -EINVAL);
	assert_int_equal(sw_set_port(lab->sw, "p0", 0, "mtu=1500", err, sizeof(err)), -EINVAL);
	assert_int_equal(sw_set_port(lab->sw, "p0", 8, "mode=poll", err, sizeof(err)), -ENOENT);
	assert_int_equal(sw_set_port(lab->sw, "p9", -1, "mode=poll", err, sizeof(err)), -ENOENT);
}

struct whose {
	const char *port;
	unsigned int queue;
};

static int is_it(void *arg, const struct sw_queue_info *info)
{
	const struct whose *whose = arg;

	return !strcmp(info->port, whose->port) && info->queue == whose->queue;
}

/* Who has the queue, or -1. */
static int worker_of(struct lab *lab, const char *port, unsigned int queue)
{
	struct whose whose = { port, queue };

	for (unsigned int i = 0; i < sw_nr_workers(lab->sw); i++)
		if (sw_each_queue(lab->sw, i, is_it, &whose))
			return (int)i;
	return -1;
}

static void a_queue_goes_to_the_worker_that_it_is_given_to(void **state)
{
	struct lab *lab = new_lab(state, NR_WORKERS);

	add_port(lab, 0, "");
	add_port(lab, 1, "");
	plug(lab, 0, 2);
	plug(lab, 1, 2);
	exchange(lab, 0);
	exchange(lab, 1);
	for (int i = 0; i < 40; i++) {
		int to = (int)random_below(lab, NR_WORKERS);

		assert_int_equal(sw_move_queue(lab->sw, "p0", 1, (unsigned int)to), 0);
		exchange(lab, 0);
		assert_true(check_until(pump(lab), worker_of(lab, "p0", 1) == to));
		exchange(lab, 1);
		assert_int_equal(worker_of(lab, "p0", 1), to);
	}
	assert_int_equal(worker_of(lab, "p0", 0), 0);
	assert_int_equal(sw_move_queue(lab->sw, "p0", 1, NR_WORKERS), -EINVAL);
	assert_int_equal(sw_move_queue(lab->sw, "p0", 8, 0), -ENOENT);
	assert_int_equal(sw_move_queue(lab->sw, "p7", 0, 0), -ENOENT);
}

static uint32_t all_sent(const struct lab *lab)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < NR_PORTS * NR_QUEUES; i++)
		sum += lab->sent[i % NR_PORTS][i / NR_PORTS];
	return sum;
}

/* All queues at once, from both sides; between bursts somebody meddles. */
static void run_under(struct lab *lab, unsigned int rounds, uint32_t frames,
		      void (*meddle)(struct lab *lab))
{
	for (unsigned int round = 0; round < rounds || all_sent(lab) < frames; round++) {
		for (unsigned int i = 0; i < NR_PORTS * NR_QUEUES; i++) {
			unsigned int from = i % NR_PORTS, queue = i / NR_PORTS;

			receive(lab, from, queue);
			for (uint32_t n = random_below(lab, 8); n; n--)
				if (lab->sent[from][queue] - lab->received[from][queue] < IN_FLIGHT)
					add_frame(lab, from, queue);
			drv_ring_kick(&lab->drv[from].ring[2 * queue + 1]);
		}
		meddle(lab);
		if (random_below(lab, 2))
			pump(lab);
		/* Now and then all is quiet, so that queues are armed and workers asleep. */
		if (random_below(lab, 16) == 0)
			check_sleep_ms(1);
	}
	for (unsigned int from = 0; from < NR_PORTS; from++)
		for (unsigned int queue = 0; queue < NR_QUEUES; queue++)
			if (!check_until(pump(lab), all_is_received(lab, from, queue)))
				fail_msg("from port %u, queue %u: %u sent, %u received", from,
					 queue, lab->sent[from][queue], lab->received[from][queue]);
}

static void move_something(struct lab *lab)
{
	static const char *const modes[] = { "mode=poll", "mode=adaptive", "mode=interrupt" };
	const char *port = random_below(lab, 2) ? "p1" : "p0";
	unsigned int queue = random_below(lab, NR_QUEUES);

	assert_int_equal(
		sw_move_queue(lab->sw, port, queue, random_below(lab, sw_nr_workers(lab->sw))), 0);
	if (random_below(lab, 4) == 0)
		set_port(lab, port, (int)random_below(lab, NR_QUEUES), modes[random_below(lab, 3)]);
}

static void nothing_is_lost_while_queues_move_and_modes_change(void **state)
{
	struct lab *lab = new_lab(state, NR_WORKERS);

	drv_mem_share_mapping(true);
	add_port(lab, 0, "");
	add_port(lab, 1, "");
	plug(lab, 0, NR_QUEUES);
	plug(lab, 1, NR_QUEUES);
	run_under(lab, 600, 5000, move_something);
	for (unsigned int queue = 0; queue < NR_QUEUES; queue++)
		assert_int_equal(counted(lab, "p0", queue).rx_frames, lab->sent[0][queue]);
}

static void a_ring_stops_and_starts_while_its_queue_moves(void **state)
{
	struct lab *lab = new_lab(state, NR_WORKERS);
	uint16_t base;

	drv_mem_share_mapping(true);
	add_port(lab, 0, ",mode=poll"); /* the old worker is never asleep */
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	exchange(lab, 0);
	for (int i = 0; i < 100; i++) {
		/* The control thread has not seen the end of the move yet. */
		assert_int_equal(sw_move_queue(lab->sw, "p0", 0, random_below(lab, NR_WORKERS)), 0);
		base = drv_stop_ring(&lab->drv[0], 1);
		if (i & 1)
			assert_int_equal(
				sw_move_queue(lab->sw, "p0", 0, random_below(lab, NR_WORKERS)), 0);
		drv_start_ring(&lab->drv[0], 1, base);
		drv_check_in_step(&lab->drv[0]);
		exchange(lab, 0);
	}
}

static void a_port_goes_while_its_queue_moves(void **state)
{
	struct lab *lab = new_lab(state, NR_WORKERS);
	char path[128];

	drv_mem_share_mapping(true);
	add_port(lab, 1, "");
	plug(lab, 1, 1);
	for (int i = 0; i < 30; i++) {
		add_port(lab, 0, ",mode=poll");
		plug(lab, 0, 1);
		exchange(lab, 0);
		assert_int_equal(sw_move_queue(lab->sw, "p0", 0, random_below(lab, NR_WORKERS)), 0);
		assert_int_equal(sw_del_port(lab->sw, "p0"), 0);
		/* Whatever the old worker does, name and place are free again. */
		snprintf(path, sizeof(path), "%s/p0", lab->dir);
		assert_int_equal(access(path, F_OK), -1);
		unplug(lab, 0);
		lab->sent[0][0] = lab->received[0][0] = 0;
	}
}

/* Judged by counts: so much may have been taken since, and so often may it have been looked. */
static void a_limited_port_keeps_its_frames_until_their_time(void **state)
{
	enum {
		NR_FRAMES = 60, /* fewer than either ring has room for */
		BURST = 32,
		PPS = 10,
	};
	struct lab *lab = new_lab(state, 1);
	int64_t begin_ms = check_now_ms(), ms;
	struct sw_counters counters;
	char err[SW_ERR_MAX];

	add_port(lab, 0, ",pps=10,mode=poll");
	add_port(lab, 1, "");
	plug(lab, 0, 1);
	plug(lab, 1, 1);
	for (int i = 0; i < NR_FRAMES; i++)
		add_frame(lab, 0, 0);
	drv_ring_kick(&lab->drv[0].ring[1]);
	/* What a full bucket holds, and some of what comes later. */
	do {
		counters = counted(lab, "p0", 0);
		ms = check_now_ms() - begin_ms;
		assert_true((int64_t)counters.rx_frames <= BURST + 1 + PPS * ms / 1000 + 1);
		assert_true((int64_t)counters.rx_limited <= ms + 100);
		pump(lab);
		check_sleep_ms(1);
	} while (ms < 2 * CHECK_PATIENCE_MS && counters.rx_frames < BURST + 4);
	assert_in_range(counters.rx_frames, BURST + 4, NR_FRAMES);
	receive(lab, 0, 0);

	assert_int_equal(sw_set_port(lab->sw, "p0", 0, "pps=0", err, sizeof(err)), -EINVAL);
	set_port(lab, "p0", -1, "pps=0");
	/* None of them was dropped. */
	assert_true(check_until(pump(lab), all_is_received(lab, 0, 0)));
	assert_int_equal(counted(lab, "p0", 0).rx_frames, NR_FRAMES);
	set_port(lab, "p0", -1, "rate=1G,pps=1M");
	exchange(lab, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_ring_in_mode_poll_needs_no_kick),
		TEST(an_empty_ring_in_mode_interrupt_is_armed_and_left_alone),
		TEST(idle_rings_are_not_looked_at_beside_a_busy_one),
		TEST(a_visit_takes_few_long_frames),
		TEST(modes_change_while_the_ring_runs),
		TEST(a_queue_goes_to_the_worker_that_it_is_given_to),
		TEST(nothing_is_lost_while_queues_move_and_modes_change),
		TEST(a_ring_stops_and_starts_while_its_queue_moves),
		TEST(a_port_goes_while_its_queue_moves),
		TEST(a_limited_port_keeps_its_frames_until_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
