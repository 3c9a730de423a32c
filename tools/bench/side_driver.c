// SPDX-License-Identifier: MIT
/*
 * The frontend's part: guest memory, rings, and a backend that may come and go; knows nothing of
 * what its lanes carry.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/side.h"
#include "common/log.h"

enum {
	SOCKET_MODE = 0600,
	STOP_MS = 1000,	  /* for an orderly goodbye */
	SLOT_SPARE = 256, /* of each buffer: header and alignment */
	RING_SPARE = 64,  /* bytes of the rings for each entry, and its indirect tables */
};
#define GUEST_BASE UINT64_C(0x40000000)
#define HUGE_SIZE (UINT64_C(2) << 20)
#define MEMORY_MAX (UINT64_C(64) << 30)

/* ---- Memory ---- */

/* Bytes of one receive buffer. */
static uint64_t rx_buffer(const struct side *side)
{
	return side->options->no_mrg ? side->frame_max + BENCH_HDR_LEN : BENCH_RX_BUFFER;
}

/* Room for all rings and buffers, on the safe side: pages that nobody touches cost nothing. */
static uint64_t memory_size(const struct side *side)
{
	const struct bench_options *options = side->options;
	uint64_t buffer = side->frame_max > rx_buffer(side) ? side->frame_max : rx_buffer(side);
	uint64_t entry = 2 * (buffer + SLOT_SPARE + RING_SPARE + 16 * (uint64_t)options->pieces);
	uint64_t size = HUGE_SIZE + side->nr_lanes * (options->ring_size * entry + HUGE_SIZE);

	return (size + HUGE_SIZE - 1) / HUGE_SIZE * HUGE_SIZE;
}

static int make_memory(struct side *side)
{
	uint64_t size = memory_size(side);
	int err;

	if (size > MEMORY_MAX) {
		log_line(LOG_ERR, NULL,
			 "%s: %llu queue pairs of %llu entries for frames of %llu bytes want %llu "
			 "MiB: at most %llu",
			 side->name, (unsigned long long)side->nr_lanes,
			 (unsigned long long)side->options->ring_size,
			 (unsigned long long)side->frame_max, (unsigned long long)(size >> 20),
			 (unsigned long long)(MEMORY_MAX >> 20));
		return -1;
	}
	err = vhu_memory_new(&side->memory);
	if (!err)
		err = vhu_memory_add(side->memory, GUEST_BASE, size,
				     side->options->huge ? VHU_MEMORY_HUGE : 0);
	if (err && side->options->huge)
		log_line(LOG_ERR, NULL,
			 "--huge: %llu huge pages of 2 MiB: %s (/proc/sys/vm/nr_hugepages says how "
			 "many there are)",
			 (unsigned long long)(size / HUGE_SIZE), strerror(-err));
	else if (err)
		log_line(LOG_ERR, NULL, "%s: guest memory of %llu MiB: %s", side->name,
			 (unsigned long long)(size >> 20), strerror(-err));
	return err ? -1 : 0;
}

/* ---- Rings ---- */

/* What the backend takes whole: its HOST_ bits, said as those of a receiver. */
static uint32_t caps_of(uint64_t features)
{
	static const struct {
		unsigned int host, guest;
	} bits[] = {
		{ VHU_NET_F_CSUM_BIT, VHU_NET_F_GUEST_CSUM_BIT },
		{ VHU_NET_F_HOST_TSO4_BIT, VHU_NET_F_GUEST_TSO4_BIT },
		{ VHU_NET_F_HOST_TSO6_BIT, VHU_NET_F_GUEST_TSO6_BIT },
	};
	uint64_t receiver = 0;

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (features & VHU_MASK(bits[i].host))
			receiver |= VHU_MASK(bits[i].guest);
	return vhu_net_caps(receiver);
}

static int make_lane(struct side *side, struct lane *lane)
{
	const struct bench_options *options = side->options;
	struct vhu_net_ring_options ring = {
		.size = sizeof(ring),
		.memory = side->memory,
		.num = options->ring_size,
		.features = side->features,
		.frame_max = side->frame_max,
		.pieces = options->pieces,
	};
	int err = vhu_net_tx_new(&lane->tx, &ring);

	ring.pieces = 1;
	ring.buffer_size = BENCH_RX_BUFFER;
	if (!err)
		err = vhu_net_rx_new(&lane->rx, &ring);
	if (err) {
		vhu_net_tx_free(lane->tx);
		lane->tx = NULL;
		return err;
	}
	lane->features = side->features;
	lane->out_caps = caps_of(side->features);
	lane->out_max = side->frame_max;
	return 0;
}

static int describe_ring(struct side *side, unsigned int ring, struct vhu_driver *driver)
{
	const struct vhu_frontend_ring config = {
		.size = sizeof(config),
		.kick_fd = -1,
		.call_fd = -1,
		.polled = side->options->poll,
		.driver = driver,
	};
	int err = vhu_frontend_set_ring(side->frontend, ring, &config);

	if (!err && !side->options->poll)
		side_watch(side, ring, vhu_frontend_call_fd(side->frontend, ring));
	vhu_driver_disarm(driver);
	return err;
}

/* A source has no use for what comes: it gives no buffers, and the other side does not send. */
static bool wants_frames(const struct side *side)
{
	return side->options->mode != BENCH_SOURCE;
}

static int make_rings(struct side *side)
{
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];
		int err = make_lane(side, lane);

		if (err)
			return err;
		/* ring 2n is a guest's receive ring, 2n + 1 its transmit ring */
		if (wants_frames(side))
			vhu_net_rx_fill(lane->rx);
		err = describe_ring(side, 2 * i, vhu_net_rx_driver(lane->rx));
		if (!err)
			err = describe_ring(side, 2 * i + 1, vhu_net_tx_driver(lane->tx));
		if (err)
			return err;
	}
	return 0;
}

static void set_up(struct side *side, bool up)
{
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];

		lane->is_up = up && lane->tx;
		lane->nr = 0;
		lane->done = 0;
		if (lane->is_up) {
			/* whatever was said to the backend that has gone */
			lane->in_armed = true;
			lane->out_armed = true;
			lane->out_dirty = true;
			lane_disarm(lane);
		}
	}
	side_set_up(side, up);
}

/* ---- What the frontend tells ---- */

static void on_started(void *arg, int err, const struct vhu_answer *answer)
{
	struct side *side = arg;

	if (!err)
		set_up(side, true);
	else if (err == -ECONNRESET || err == -ETIMEDOUT)
		side_say(side, LOG_WARNING, "left while the rings were being started");
	else
		side_fail(side, "the rings cannot be started: %s",
			  answer && answer->reason ? answer->reason : strerror(-err));
}

static void start(struct side *side)
{
	int err = vhu_frontend_start(side->frontend, on_started, side);

	if (err)
		side_fail(side, "the rings cannot be started: %s", strerror(-err));
}

/* Backends that count rings and not pairs answer twice as many: those have enough anyway. */
static bool has_queues(struct side *side)
{
	uint64_t offered = vhu_frontend_queue_num(side->frontend);

	if (side->nr_lanes == 1 || offered >= side->nr_lanes)
		return true;
	if (!offered)
		side_fail(side, "--queues %u: it has one queue pair (offers no multi-queue)",
			  side->nr_lanes);
	else
		side_fail(side, "--queues %u: it has %llu queue pairs", side->nr_lanes,
			  (unsigned long long)offered);
	return false;
}

static void on_connected(void *arg)
{
	struct side *side = arg;
	int err;

	side->connections++;
	side->features = vhu_frontend_features(side->frontend);
	if (!has_queues(side))
		return;
	if (side->options->in_flight &&
	    !(vhu_frontend_protocol_features(side->frontend) & VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT)))
		side_say(side, LOG_WARNING,
			 "--in-flight: it offers no in-flight region; goes on without");
	err = make_rings(side);
	if (err)
		side_fail(side, "rings of %u entries: %s", side->options->ring_size,
			  strerror(-err));
	else
		start(side);
}

static void on_gone(void *arg, int err, const char *reason)
{
	struct side *side = arg;

	side->events->let_go(side->events->arg, side);
	side_gone(side);
	set_up(side, false);
	if (vhu_frontend_state(side->frontend) == VHU_DEVICE_FAILED)
		side_fail(side, "%s", reason ? reason : strerror(-err));
	else
		side_say(side, LOG_NOTICE, "has gone (%s); waiting for it to come back",
			 reason ? reason : strerror(-err));
}

static void on_back(void *arg)
{
	struct side *side = arg;

	side->connections++;
	if (vhu_frontend_state(side->frontend) != VHU_DEVICE_RUNNING) {
		start(side);
		return;
	}
	side_say(side, LOG_NOTICE, "is back");
	set_up(side, true);
}

static void on_ring_error(void *arg, unsigned int ring)
{
	side_say(arg, LOG_WARNING, "says that ring %u is broken", ring);
}

static void on_complaint(void *arg, const char *text)
{
	struct side *side = arg;

	if (vhu_frontend_state(side->frontend) == VHU_DEVICE_FAILED)
		side_fail(side, "%s", text);
	else
		side_say(side, LOG_WARNING, "%s", text);
}

static void on_event(void *arg, const struct vhu_event *event)
{
	if (event->kind == VHU_EVENT_CONNECTED)
		side_back(arg);
}

static const struct vhu_frontend_ops frontend_ops = {
	.size = sizeof(struct vhu_frontend_ops),
	.connected = on_connected,
	.gone = on_gone,
	.back = on_back,
	.ring_error = on_ring_error,
	.complaint = on_complaint,
	.event = on_event,
};

static void on_control(void *arg, uint32_t events)
{
	struct side *side = arg;
	int err;

	(void)events;
	/* a burst that waits for room lies in memory of our own: only gone() takes its rings away */
	err = vhu_frontend_process(side->frontend);
	if (err)
		side_fail(side, "cannot go on: %s", strerror(-err));
}

/* ---- Beginning and end ---- */

static uint64_t features_needed(const struct bench_options *options)
{
	uint64_t ret = VHU_MASK(VHU_F_VERSION_1_BIT);

	if (options->ring == BENCH_RING_PACKED)
		ret |= VHU_MASK(VHU_F_RING_PACKED_BIT);
	if (options->in_order)
		ret |= VHU_MASK(VHU_F_IN_ORDER_BIT);
	if (options->is_tso)
		ret |= VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO4_BIT);
	return ret;
}

static int attach(struct side *side)
{
	const struct bench_side_options *where = &side->where;
	int err = where->is_server ?
			  vhu_frontend_listen(side->frontend, where->path, SOCKET_MODE, NULL) :
			  vhu_frontend_connect(side->frontend, where->path);

	if (err == -EADDRINUSE)
		log_line(LOG_ERR, NULL, "%s: a live program listens there already", side->name);
	else if (err == -EEXIST)
		log_line(LOG_ERR, NULL, "%s: there is a file, and it is no socket", side->name);
	else if (err)
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
	return err ? -1 : 0;
}

int side_driver_open(struct side *side)
{
	const struct bench_options *options = side->options;
	struct vhu_frontend_options wishes = {
		.size = sizeof(wishes),
		.nr_rings = 2 * side->nr_lanes,
		.features = side_features(options),
		.features_needed = features_needed(options),
		.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES &
				     ~(VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT) |
				       VHU_MASK(VHU_P_NET_MTU_BIT) | VHU_MASK(VHU_P_RARP_BIT)),
		.give_up = true,
		.ops = &frontend_ops,
		.arg = side,
	};
	int err;

	if (options->ring == BENCH_RING_PACKED)
		wishes.features |= VHU_MASK(VHU_F_RING_PACKED_BIT);
	if (side->nr_lanes > 1)
		wishes.features |= VHU_MASK(VHU_NET_F_MQ_BIT);
	if (options->in_flight)
		wishes.protocol_features |= VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT);
	if (make_memory(side))
		return -1;
	wishes.memory = side->memory;
	err = vhu_frontend_new(&side->frontend, &wishes);
	if (err) {
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
		return -1;
	}
	if (attach(side))
		return -1;
	err = loop_add_fd(side->loop, vhu_frontend_fd(side->frontend), EPOLLIN, on_control, side,
			  &side->control);
	if (err)
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
	return err ? -1 : 0;
}

void side_driver_close(struct side *side)
{
	if (side->frontend && vhu_frontend_state(side->frontend) == VHU_DEVICE_RUNNING) {
		/* a backend that is told can give back what it has */
		vhu_frontend_stop(side->frontend, NULL, NULL);
		vhu_frontend_wait(side->frontend, STOP_MS, NULL);
	}
	vhu_frontend_free(side->frontend);
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		vhu_net_tx_free(side->lanes[i].tx);
		vhu_net_rx_free(side->lanes[i].rx);
	}
	vhu_memory_free(side->memory);
	side->frontend = NULL;
	side->memory = NULL;
}
