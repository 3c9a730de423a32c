/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* The whole switch, worker and all, between frontends of the test's own: what they get, and what one of them can do to the others. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vhu/net.h>

#include "driver.h"
#include "switch/switch.h"

enum {
	NR_PORTS = 3,
	FRAME_LEN = 1000,
	ALL = 0xff,
};

struct lab {
	struct vhu_switch *sw;
	char dir[64];
	char text[8192]; /* what was logged, one a line */
	struct drv drv[NR_PORTS];
	bool is_up[NR_PORTS];
	uint8_t tail; /* of the frames sent from now on */
};

static void on_log(void *arg, int level, const char *text)
{
	struct lab *lab = arg;
	size_t len = strlen(lab->text);

	(void)level;
	snprintf(lab->text + len, sizeof(lab->text) - len, "%s\n", text);
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

static void plug(struct lab *lab, unsigned int i, const struct drv_options *options)
{
	struct drv *drv = &lab->drv[i];
	char path[128];

	snprintf(path, sizeof(path), "%s/p%u", lab->dir, i);
	drv_init(drv, options);
	drv->pump = pump;
	drv->pump_arg = lab;
	assert_int_equal(drv_connect(drv, path), 0);
	drv_start(drv);
	for (unsigned int ring = 0; ring < drv->options.nr_rings; ring += 2)
		drv_net_fill(drv, ring, UINT32_MAX);
	lab->is_up[i] = true;
}

static void unplug(struct lab *lab, unsigned int i)
{
	if (lab->is_up[i])
		drv_free(&lab->drv[i]);
	lab->is_up[i] = false;
}

static int setup_workers(void **state, unsigned int nr)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	const struct sw_options options = { .nr_workers = nr, .log = on_log, .arg = lab };

	assert_non_null(lab);
	strcpy(lab->dir, "/tmp/vhu-switch-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	assert_int_equal(sw_new(&lab->sw, &options), 0);
	*state = lab;
	return 0;
}

static int setup(void **state)
{
	return setup_workers(state, 1);
}

static int setup_four(void **state)
{
	return setup_workers(state, 4);
}

/* Begins a test. Not in setup(): cmocka takes SIGBUS after that. */
static struct lab *started(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(sw_start(lab->sw), 0);
	return lab;
}

static struct lab *plugged(void **state)
{
	struct lab *lab = started(state);

	for (unsigned int i = 0; i < NR_PORTS; i++) {
		add_port(lab, i, "");
		plug(lab, i, NULL);
	}
	return lab;
}

static struct lab *plugged_and_shared(void **state)
{
	drv_mem_share_mapping(true);
	return plugged(state);
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	sw_stop(lab->sw);
	for (unsigned int i = 0; i < NR_PORTS; i++)
		unplug(lab, i);
	sw_free(lab->sw);
	drv_mem_share_mapping(false);
	/* The socket files have gone, or this would fail. */
	if (rmdir(lab->dir))
		return -1;
	free(lab);
	return 0;
}

/* Stations are numbers; ALL is everybody. */
static void make_frame(struct lab *lab, uint8_t *frame, unsigned int to, unsigned int from)
{
	const uint8_t stations[14] = { 2,    0,	  0, 0, 0, (uint8_t)to,
				       2,    0,	  0, 0, 0, (uint8_t)from,
				       0x88, 0xb5 };

	memcpy(frame, stations, sizeof(stations));
	if (to == ALL)
		memset(frame, 0xff, 6);
	for (size_t i = sizeof(stations); i < FRAME_LEN; i++)
		frame[i] = (uint8_t)(i * 7 + lab->tail);
}

static void send_frame(struct lab *lab, unsigned int port, unsigned int to, unsigned int from)
{
	uint8_t frame[FRAME_LEN];

	lab->tail++;
	make_frame(lab, frame, to, from);
	drv_net_send(&lab->drv[port], 1, frame, sizeof(frame));
}

static bool takes(struct lab *lab, unsigned int port, uint8_t *frame, size_t room, size_t *ret_len)
{
	int ret = drv_net_receive(&lab->drv[port], 0, frame, room, ret_len, NULL);

	assert_true(ret >= 0);
	return ret;
}

/* The frame that was sent last arrives, byte for byte. */
static void arrives(struct lab *lab, unsigned int port, unsigned int to, unsigned int from)
{
	uint8_t expected[FRAME_LEN], frame[4096];
	size_t len = 0;

	make_frame(lab, expected, to, from);
	if (!check_until(pump(lab), takes(lab, port, frame, sizeof(frame), &len)))
		fail_msg("nothing arrives at port %u; log:\n%s", port, lab->text);
	assert_int_equal(len, sizeof(expected));
	assert_memory_equal(frame, expected, sizeof(expected));
	drv_net_fill(&lab->drv[port], 0, UINT32_MAX);
}

static void is_silent(struct lab *lab, unsigned int port)
{
	(void)lab;
	assert_false(drv_ring_has_used(&lab->drv[port].ring[0]));
}

/* ---- What the switch says of a port ---- */

struct wanted {
	const char *name;
	char state[32];
	struct sw_counters counters;
};

static int pick(void *arg, const struct sw_port_info *port)
{
	struct wanted *wanted = arg;

	if (strcmp(port->name, wanted->name))
		return 0;
	snprintf(wanted->state, sizeof(wanted->state), "%s", port->state);
	wanted->counters = port->counters;
	return 1;
}

static struct wanted shown(struct lab *lab, unsigned int port)
{
	char name[16];
	struct wanted wanted = { .name = name };

	snprintf(name, sizeof(name), "p%u", port);
	assert_int_equal(sw_each_port(lab->sw, pick, &wanted), 1);
	wanted.name = NULL;
	return wanted;
}

static bool is_in_state(struct lab *lab, unsigned int port, const char *state)
{
	return !strcmp(shown(lab, port).state, state);
}

/* ---- Tests ---- */

/* Both sides touch the same mapping in the first two, so that TSan sees all of it. */
static void frames_arrive_whole_where_they_belong(void **state)
{
	struct lab *lab = plugged_and_shared(state);
	struct sw_counters counters;

	send_frame(lab, 0, 2, 1);
	arrives(lab, 1, 2, 1);
	arrives(lab, 2, 2, 1);
	send_frame(lab, 1, 1, 2);
	arrives(lab, 0, 1, 2);
	send_frame(lab, 0, 2, 1);
	arrives(lab, 1, 2, 1);
	is_silent(lab, 2);
	assert_true(is_in_state(lab, 0, "running"));
	/* Published before it was counted. */
	assert_true(check_until(pump(lab), shown(lab, 1).counters.tx_frames == 2));
	counters = shown(lab, 0).counters;
	assert_int_equal(counters.rx_frames, 2);
	assert_int_equal(counters.rx_bytes, 2 * FRAME_LEN);
	assert_int_equal(counters.tx_frames, 1);
	assert_true(counters.rx_kicks >= 1);
	assert_true(shown(lab, 1).counters.tx_calls >= 1);
	assert_int_equal(sw_port_queue_counters(lab->sw, "p0", 0, &counters), 0);
	assert_int_equal(counters.rx_frames, 2);
	assert_int_equal(sw_port_queue_counters(lab->sw, "p0", 99, &counters), -ENOENT);
}

/* What was meant for the port and delivered, or dropped for a good reason. */
static uint64_t accounted(struct lab *lab, unsigned int port)
{
	struct sw_counters counters = shown(lab, port).counters;

	return counters.tx_frames + counters.tx_drop_rx_full + counters.tx_drop_busy;
}

static void all_that_was_sent_is_counted_on_one_side_or_the_other(void **state)
{
	struct lab *lab = plugged_and_shared(state);
	struct drv *from = &lab->drv[0], *to = &lab->drv[1];
	uint8_t frame[FRAME_LEN];
	uint32_t sent = 0, received = 0;
	struct sw_counters counters;
	size_t len;

	send_frame(lab, 1, ALL, 2);
	arrives(lab, 0, ALL, 2);
	arrives(lab, 2, ALL, 2);
	make_frame(lab, frame, 2, 1);
	while (sent < 20000) {
		drv_net_reap(from, 1);
		while (sent < 20000 && drv_net_add(from, 1, frame, sizeof(frame), NULL) >= 0)
			sent++;
		drv_ring_kick(&from->ring[1]);
		/* The receiver is slow: it gives its buffers back in heaps. */
		while (received % 40 != 39 && takes(lab, 1, frame, sizeof(frame), &len))
			received++;
		if (drv_ring_has_used(&to->ring[0]) && takes(lab, 1, frame, sizeof(frame), &len))
			received++;
		drv_net_fill(to, 0, UINT32_MAX);
		pump(lab);
	}
	assert_true(check_until(pump(lab) || drv_net_reap(from, 1),
				shown(lab, 0).counters.rx_frames == sent));
	assert_true(check_until(pump(lab), shown(lab, 1).counters.tx_frames +
							   shown(lab, 1).counters.tx_drop_rx_full ==
						   sent));
	while (takes(lab, 1, frame, sizeof(frame), &len))
		received++;
	counters = shown(lab, 1).counters;
	assert_int_equal(counters.tx_frames, received);
	is_silent(lab, 2);
}

/* Voluntary switches of all threads: each wake-up ends in one. */
static unsigned long switches(void)
{
	unsigned long sum = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[300], line[128];
		unsigned long nr;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		/* The test's own thread looks, and sleeps. */
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
			continue;
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "voluntary_ctxt_switches: %lu", &nr) == 1)
				sum += nr;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

static void an_idle_switch_does_not_wake_up(void **state)
{
	struct lab *lab = plugged(state);
	unsigned long before;

#if CHECK_SANITIZED
	skip(); /* TSan has a thread of its own that does */
#endif
	send_frame(lab, 0, ALL, 1);
	arrives(lab, 1, ALL, 1);
	arrives(lab, 2, ALL, 1);
	/* The watchdog has its last look. */
	for (int64_t end = check_now_ms() + 1500; check_now_ms() < end; check_sleep_ms(20))
		pump(lab);
	before = switches();
	check_sleep_ms(500);
	assert_int_equal(switches(), before);
	assert_false(pump(lab));
	send_frame(lab, 1, 1, 2);
	arrives(lab, 0, 1, 2);
}

static void a_ring_without_a_kick_file_is_looked_at_by_the_clock(void **state)
{
	struct lab *lab = plugged(state);
	const uint64_t no_fd = 1 | VHU_VRING_NOFD_MASK;
	uint8_t frame[FRAME_LEN];
	uint16_t base;

	base = drv_stop_ring(&lab->drv[0], 1);
	drv_do_state(&lab->drv[0], VHU_SET_VRING_BASE, 1, base);
	drv_do(&lab->drv[0], VHU_SET_VRING_KICK, &no_fd, sizeof(no_fd), NULL, 0);
	drv_do_vring_fd(&lab->drv[0], VHU_SET_VRING_CALL, 1, lab->drv[0].ring[1].call_fd);
	drv_check_in_step(&lab->drv[0]);
	for (int i = 0; i < 3; i++) {
		lab->tail++;
		make_frame(lab, frame, ALL, 1);
		assert_true(drv_net_add(&lab->drv[0], 1, frame, sizeof(frame), NULL) >= 0);
		drv_ring_publish(&lab->drv[0].ring[1]);
		arrives(lab, 1, ALL, 1);
		arrives(lab, 2, ALL, 1);
	}
}

static void a_blocked_call_file_costs_only_its_own_port(void **state)
{
	struct lab *lab = plugged(state);
	struct drv_ring *ring = &lab->drv[1].ring[0];
	const uint64_t full = UINT64_MAX - 1;
	int flags = fcntl(ring->call_fd, F_GETFL);

	send_frame(lab, 1, ALL, 2);
	arrives(lab, 0, ALL, 2);
	arrives(lab, 2, ALL, 2);
	drv_ring_calls(ring);
	/* The file is shared: so is the flag. */
	assert_int_equal(write(ring->call_fd, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(ring->call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	drv_ring_want_calls(ring, true);
	send_frame(lab, 0, 2, 1);
	send_frame(lab, 2, 1, 3);
	arrives(lab, 0, 1, 3);
	if (!check_until(pump(lab), strstr(lab->text, "call eventfd blocks")))
		fail_msg("the ring was not given up; log:\n%s", lab->text);
	/* It would do so again, so its port is closed; the others go on. */
	assert_true(check_until(pump(lab), is_in_state(lab, 1, "failed")));
	send_frame(lab, 2, 1, 3);
	arrives(lab, 0, 1, 3);
	fcntl(ring->call_fd, F_SETFL, flags | O_NONBLOCK);
	/* Until it is made anew. */
	assert_int_equal(sw_del_port(lab->sw, "p1"), 0);
	unplug(lab, 1);
	add_port(lab, 1, "");
	plug(lab, 1, NULL);
	send_frame(lab, 1, 1, 2);
	arrives(lab, 0, 1, 2);
}

static void a_blocked_call_file_does_not_hold_up_the_end(void **state)
{
	struct lab *lab = plugged(state);
	struct drv_ring *ring = &lab->drv[1].ring[0];
	const uint64_t full = UINT64_MAX - 1;
	int flags = fcntl(ring->call_fd, F_GETFL);

	drv_ring_calls(ring);
	assert_int_equal(write(ring->call_fd, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(ring->call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	drv_ring_want_calls(ring, true);
	send_frame(lab, 0, 2, 1);
	check_sleep_ms(100);
	sw_stop(lab->sw);
}

static void vanished_memory_costs_only_its_own_port(void **state)
{
	struct lab *lab = plugged(state);
	struct drv *bad = &lab->drv[1];
	const uint64_t one = 1;

	send_frame(lab, 1, ALL, 2);
	arrives(lab, 0, ALL, 2);
	arrives(lab, 2, ALL, 2);
	for (unsigned int i = 0; i < bad->mem.nr; i++)
		assert_int_equal(ftruncate(bad->mem.region[i].fd, 0), 0);
	/* Found when it sends, and when it is sent to. */
	assert_int_equal(write(bad->ring[1].kick_fd, &one, sizeof(one)), sizeof(one));
	send_frame(lab, 0, 2, 1);
	send_frame(lab, 2, 1, 3);
	arrives(lab, 0, 1, 3);
	if (!check_until(pump(lab), is_in_state(lab, 1, "listening")))
		fail_msg("the port is still %s; log:\n%s", shown(lab, 1).state, lab->text);
	assert_non_null(strstr(lab->text, "p1: "));
	/* Another frontend is served there. */
	unplug(lab, 1);
	plug(lab, 1, NULL);
	send_frame(lab, 1, 1, 2);
	arrives(lab, 0, 1, 2);
	unplug(lab, 1);
}

static void a_rarp_brings_the_station_along(void **state)
{
	struct lab *lab = plugged(state);
	uint8_t frame[4096];
	size_t len;

	/* Station 2 was behind port 1, and is behind port 2 now. */
	send_frame(lab, 1, ALL, 2);
	arrives(lab, 0, ALL, 2);
	arrives(lab, 2, ALL, 2);
	drv_do_u64(&lab->drv[2], VHU_SEND_RARP, UINT64_C(2) << 40 | 2);
	assert_true(check_until(pump(lab), takes(lab, 0, frame, sizeof(frame), &len)));
	assert_int_equal(len, 60);
	assert_memory_equal(frame, "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x02\x80\x35", 14);
	assert_true(check_until(pump(lab), takes(lab, 1, frame, sizeof(frame), &len)));
	send_frame(lab, 0, 2, 1);
	arrives(lab, 2, 2, 1);
	is_silent(lab, 1);
}

static void two_senders_share_a_receiver(void **state)
{
	struct lab *lab = plugged_and_shared(state);
	uint8_t frame[FRAME_LEN];
	uint32_t sent = 0, received = 0;
	size_t len;

	send_frame(lab, 1, ALL, 2);
	arrives(lab, 0, ALL, 2);
	arrives(lab, 2, ALL, 2);
	while (sent < 20000) {
		for (unsigned int i = 0; i < NR_PORTS; i += 2) {
			make_frame(lab, frame, 2, 10 + i);
			drv_net_reap(&lab->drv[i], 1);
			while (drv_net_add(&lab->drv[i], 1, frame, sizeof(frame), NULL) >= 0)
				sent++;
			drv_ring_kick(&lab->drv[i].ring[1]);
		}
		while (takes(lab, 1, frame, sizeof(frame), &len))
			received++;
		drv_net_fill(&lab->drv[1], 0, UINT32_MAX);
		pump(lab);
	}
	assert_true(check_until(pump(lab), accounted(lab, 1) == sent));
	while (takes(lab, 1, frame, sizeof(frame), &len))
		received++;
	assert_int_equal(shown(lab, 1).counters.tx_frames, received);
}

static void put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Of a header and payload whose checksum field is filled: 0xffff. */
static unsigned int sum16(const uint8_t *p, size_t len, unsigned int sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (unsigned int)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		sum += (unsigned int)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void a_large_frame_is_cut_for_who_takes_none(void **state)
{
	const struct drv_options large = { .slot_size = 8192 };
	const struct drv_options plain = {
		.no_features =
			VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) |
			VHU_MASK(VHU_NET_F_GUEST_TSO6_BIT) | VHU_MASK(VHU_NET_F_GUEST_ECN_BIT),
	};
	const struct drv_net_hdr hdr = { .flags = VHU_NET_HDR_NEEDS_CSUM,
					 .gso_type = VHU_NET_GSO_TCPV4,
					 .hdr_len = 54,
					 .gso_size = 1000,
					 .csum_start = 34,
					 .csum_offset = 16 };
	const struct drv_layout layout = { .hdr = &hdr };
	struct lab *lab = started(state);
	uint8_t frame[54 + 2500], got[4096];
	uint8_t pseudo[12] = { 10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 0 };
	size_t len, at = 0;

	add_port(lab, 0, "");
	add_port(lab, 1, ",vlan=5");
	add_port(lab, 2, ",trunk=5");
	sw_del_port(lab->sw, "p0");
	add_port(lab, 0, ",vlan=5");
	plug(lab, 0, &large);
	plug(lab, 1, &plain);
	plug(lab, 2, &plain);
	make_frame(lab, frame, ALL, 1);
	memset(frame + 12, 0, 42);
	for (size_t i = 54; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 31);
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put16(frame + 16, sizeof(frame) - 14);
	frame[22] = 64;
	frame[23] = 6;
	memcpy(frame + 26, pseudo, 8);
	frame[46] = 0x50;
	put16(pseudo + 10, sizeof(frame) - 34);
	put16(frame + 50, sum16(pseudo, 12, 0));
	assert_true(drv_net_add(&lab->drv[0], 1, frame, sizeof(frame), &layout) >= 0);
	drv_ring_kick(&lab->drv[0].ring[1]);
	for (unsigned int i = 0; i < 3; i++) {
		size_t part = i < 2 ? 1000 : 500;

		assert_true(check_until(pump(lab), takes(lab, 1, got, sizeof(got), &len)));
		assert_int_equal(len, 54 + part);
		assert_memory_equal(got + 54, frame + 54 + at, part);
		put16(pseudo + 10, (unsigned int)(20 + part));
		assert_int_equal(sum16(got + 34, 20 + part, sum16(pseudo, 12, 0)), 0xffff);
		assert_int_equal(sum16(got + 14, 20, 0), 0xffff);
		/* The same behind the tag. */
		assert_true(check_until(pump(lab), takes(lab, 2, got, sizeof(got), &len)));
		assert_int_equal(len, 58 + part);
		assert_memory_equal(got + 12, "\x81\x00\x00\x05\x08\x00", 6);
		assert_memory_equal(got + 58, frame + 54 + at, part);
		assert_int_equal(sum16(got + 38, 20 + part, sum16(pseudo, 12, 0)), 0xffff);
		at += part;
	}
	assert_true(check_until(pump(lab), shown(lab, 1).counters.tx_segmented == 1));
}

static void ports_come_and_go_under_traffic(void **state)
{
	struct lab *lab = plugged(state);
	uint8_t frame[FRAME_LEN];

	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 20; i++) {
			make_frame(lab, frame, ALL, 1);
			if (drv_net_add(&lab->drv[0], 1, frame, sizeof(frame), NULL) < 0)
				break;
		}
		drv_ring_kick(&lab->drv[0].ring[1]);
		assert_int_equal(sw_del_port(lab->sw, "p1"), 0);
		assert_int_equal(sw_del_port(lab->sw, "p1"), -ENOENT);
		pump(lab);
		unplug(lab, 1);
		add_port(lab, 1, "");
		plug(lab, 1, NULL);
		drv_net_reap(&lab->drv[0], 1);
	}
	send_frame(lab, 1, 1, 2);
	arrives(lab, 0, 1, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FOUR(name)                                                                                 \
	{                                                                                          \
#name "_with_four_workers", name, setup_four, teardown, NULL                       \
	}
	const struct CMUnitTest tests[] = {
		TEST(frames_arrive_whole_where_they_belong),
		TEST(all_that_was_sent_is_counted_on_one_side_or_the_other),
		TEST(an_idle_switch_does_not_wake_up),
		TEST(a_ring_without_a_kick_file_is_looked_at_by_the_clock),
		TEST(a_blocked_call_file_costs_only_its_own_port),
		TEST(a_blocked_call_file_does_not_hold_up_the_end),
		TEST(vanished_memory_costs_only_its_own_port),
		TEST(a_rarp_brings_the_station_along),
		TEST(a_large_frame_is_cut_for_who_takes_none),
		TEST(two_senders_share_a_receiver),
		TEST(ports_come_and_go_under_traffic),
		FOUR(frames_arrive_whole_where_they_belong),
		FOUR(all_that_was_sent_is_counted_on_one_side_or_the_other),
		FOUR(two_senders_share_a_receiver),
		FOUR(ports_come_and_go_under_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
