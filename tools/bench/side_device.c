// SPDX-License-Identifier: MIT
/*
 * The backend's part: a device that frontends come to and leave; knows nothing of what its lanes
 * carry.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fault.h"
#include "bench/side.h"
#include "common/log.h"

enum {
	SOCKET_MODE = 0600,
};

static void on_connected(void *arg)
{
	struct side *side = arg;

	side->connections++;
	side_back(side);
	side_say(side, LOG_NOTICE, "has connected");
}

/* A wish that the frontend does not share makes a measurement of something else. */
static void check_features(struct side *side)
{
	const struct bench_options *options = side->options;
	bool sends = options->mode != BENCH_SINK;

	if (options->ring == BENCH_RING_PACKED &&
	    !(side->features & VHU_MASK(VHU_F_RING_PACKED_BIT)))
		side_fail(side, "--ring packed: it has not agreed to packed rings");
	else if (options->in_order && !(side->features & VHU_MASK(VHU_F_IN_ORDER_BIT)))
		side_fail(side, "--in-order: it has not agreed to it");
	else if (options->is_tso && sends && !(side->features & VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT)))
		side_fail(side, "--tso: it takes no frames that are still to be cut");
}

static void on_features(void *arg, uint64_t features)
{
	struct side *side = arg;

	/* LOG_ALL may come and go */
	side->features = features & ~VHU_MASK(VHU_F_LOG_ALL_BIT);
	check_features(side);
}

static bool is_lane_up(const struct side *side, unsigned int lane)
{
	return vhu_backend_ring_state(side->backend, 2 * lane) == VHU_RING_STARTED_ENABLED &&
	       vhu_backend_ring_state(side->backend, 2 * lane + 1) == VHU_RING_STARTED_ENABLED;
}

/* What the other side said of this lane's rings has changed. */
static void refresh(struct side *side, unsigned int index, bool up)
{
	struct lane *lane = &side->lanes[index];

	lane->is_up = up;
	lane->in_armed = false;
	lane->out_armed = false;
	if (!up)
		lane->skip = 0;
	if (up) {
		lane->features = side->features;
		lane->out_caps = vhu_net_queue_caps(lane->out);
		lane->out_dirty = true; /* a new call fd may have a call to be raised again */
		vhu_queue_disarm(lane->in);
		vhu_queue_disarm(lane->out);
	}
	if (index == 0)
		side_set_up(side, up);
}

static void on_queue_started(void *arg, unsigned int ring, int kick_fd)
{
	struct side *side = arg;

	side_watch(side, ring, side->options->poll ? -1 : kick_fd);
	refresh(side, ring / 2, is_lane_up(side, ring / 2));
}

static void on_queue_stopped(void *arg, unsigned int ring, int kick_fd)
{
	struct side *side = arg;

	(void)kick_fd;
	side_watch(side, ring, -1);
	refresh(side, ring / 2, false);
}

static void on_event(void *arg, const struct vhu_event *event)
{
	struct side *side = arg;

	/* enabled or disabled while it runs */
	if (event->kind == VHU_EVENT_RING_STATE && event->ring >= 0 &&
	    (unsigned int)event->ring / 2 < side->nr_lanes &&
	    event->to != VHU_RING_STARTED_ENABLED && side->lanes[event->ring / 2].is_up)
		refresh(side, (unsigned int)event->ring / 2, false);
}

static void on_closed(void *arg, int err, const char *reason)
{
	struct side *side = arg;

	side_gone(side);
	for (unsigned int i = 0; i < side->nr_lanes; i++)
		refresh(side, i, false);
	if (err == -EDEADLK)
		side_fail(side, "%s", reason ? reason : strerror(-err));
	else if (err)
		side_say(side, LOG_WARNING, "disconnected: %s", reason ? reason : strerror(-err));
	else
		side_say(side, LOG_NOTICE, "has gone");
}

static void on_complaint(void *arg, const char *text)
{
	side_say(arg, LOG_WARNING, "%s", text);
}

/* Any MTU is fine: frames are as long as they are. */
static int on_mtu(void *arg, unsigned int mtu)
{
	(void)arg;
	(void)mtu;
	return 0;
}

static const struct vhu_backend_ops backend_ops = {
	.size = sizeof(struct vhu_backend_ops),
	.connected = on_connected,
	.features = on_features,
	.queue_started = on_queue_started,
	.queue_stopped = on_queue_stopped,
	.mtu = on_mtu,
	.closed = on_closed,
	.complaint = on_complaint,
	.event = on_event,
};

static void on_control(void *arg, uint32_t events)
{
	struct side *side = arg;
	int err;

	(void)events;
	side->events->let_go(side->events->arg, side);
	err = vhu_backend_process(side->backend);
	if (err < 0)
		side_fail(side, "cannot go on: %s", strerror(-err));
}

/* ---- Beginning and end ---- */

static int make_lanes(struct side *side)
{
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];
		int err = vhu_net_burst_new(&lane->burst);

		if (err)
			return err;
		lane->stage = calloc(1, VHU_NET_FRAME_MAX);
		if (!lane->stage)
			return -ENOMEM;
		lane->out = vhu_backend_queue(side->backend, 2 * i);
		lane->in = vhu_backend_queue(side->backend, 2 * i + 1);
	}
	return 0;
}

static int attach(struct side *side)
{
	const struct bench_side_options *where = &side->where;
	int err = where->is_server ?
			  vhu_backend_listen(side->backend, where->path, SOCKET_MODE, NULL) :
			  vhu_backend_connect(side->backend, where->path);

	if (err == -EADDRINUSE)
		log_line(LOG_ERR, NULL, "%s: a live program listens there already", side->name);
	else if (err == -EEXIST)
		log_line(LOG_ERR, NULL, "%s: there is a file, and it is no socket", side->name);
	else if (err)
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
	return err ? -1 : 0;
}

static uint64_t features(const struct side *side)
{
	uint64_t ret = side_features(side->options) | VHU_MASK(VHU_F_LOG_ALL_BIT);

	/* what the frontend makes of it is its affair, unless it was said */
	if (side->options->ring != BENCH_RING_SPLIT)
		ret |= VHU_MASK(VHU_F_RING_PACKED_BIT);
	/* MQ rests on a control queue, which only the frontend can serve */
	if (side->nr_lanes > 1)
		ret |= VHU_MASK(VHU_NET_F_MQ_BIT) | VHU_MASK(VHU_NET_F_CTRL_VQ_BIT);
	return ret;
}

int side_device_open(struct side *side)
{
	struct vhu_backend_options offer = {
		.size = sizeof(offer),
		.nr_rings = 2 * side->nr_lanes,
		.queue_num = side->nr_lanes,
		.features = features(side),
		.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES,
		.ops = &backend_ops,
		.arg = side,
	};
	int err = vhu_domain_new(&side->domain);

	offer.domain = side->domain;
	offer.protocol_features &= ~VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT);
	if (side->options->in_flight)
		offer.protocol_features |= VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT);
	if (!err)
		err = vhu_backend_new(&side->backend, &offer);
	if (!err)
		err = make_lanes(side);
	if (!err)
		err = fault_watch(side->domain);
	if (err) {
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
		return -1;
	}
	if (attach(side))
		return -1;
	err = loop_add_fd(side->loop, vhu_backend_fd(side->backend), EPOLLIN, on_control, side,
			  &side->control);
	if (err)
		log_line(LOG_ERR, NULL, "%s: %s", side->name, strerror(-err));
	return err ? -1 : 0;
}

void side_device_close(struct side *side)
{
	vhu_backend_free(side->backend);
	fault_unwatch(side->domain);
	vhu_domain_free(side->domain);
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		vhu_net_burst_free(side->lanes[i].burst);
		free(side->lanes[i].stage);
	}
	side->backend = NULL;
	side->domain = NULL;
}
