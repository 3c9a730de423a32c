// SPDX-License-Identifier: MIT
/* What both halves of a connection have in common; knows nothing of rings and messages. */

#include "bench/side.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

void side_say(const struct side *side, int level, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_line(level, side->name, "%s", text);
}

void side_fail(struct side *side, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (side->has_failed)
		return;
	side->has_failed = true;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_line(LOG_ERR, NULL, "%s: %s", side->name, text);
	side->events->failed(side->events->arg, side);
}

uint64_t side_features(const struct bench_options *options)
{
	uint64_t ret = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) |
		       VHU_MASK(VHU_F_ANY_LAYOUT_BIT);

	if (!options->no_indirect)
		ret |= VHU_MASK(VHU_F_INDIRECT_DESC_BIT);
	if (!options->no_event_idx)
		ret |= VHU_MASK(VHU_F_EVENT_IDX_BIT);
	if (!options->no_mrg)
		ret |= VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT);
	if (!options->no_csum)
		ret |= VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT);
	if (options->is_tso)
		ret |= VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO6_BIT) |
		       VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT) | VHU_MASK(VHU_NET_F_GUEST_TSO6_BIT);
	if (options->in_order)
		ret |= VHU_MASK(VHU_F_IN_ORDER_BIT);
	return ret;
}

/* ---- Coming and going ---- */

void side_gone(struct side *side)
{
	if (side->was_up && !side->outage.is_open)
		side->outage = (struct side_outage){
			.is_open = true,
			.gone_ns = bench_clock_now(side->clock),
		};
	side->outage.is_back = false;
}

void side_back(struct side *side)
{
	if (!side->outage.is_open)
		return;
	side->outage.is_back = true;
	side->outage.back_ns = bench_clock_now(side->clock);
}

void side_passed(struct side *side)
{
	struct side_outage *outage = &side->outage;
	uint64_t now;

	if (!outage->is_open || !outage->is_back)
		return;
	now = bench_clock_now(side->clock);
	side->recoveries++;
	hist_add(&side->outage_ns, now - outage->gone_ns);
	hist_add(&side->recovery_ns, now - outage->back_ns);
	outage->is_open = false;
}

void side_set_up(struct side *side, bool up)
{
	side->is_up = up;
	side->was_up |= up;
	side->events->changed(side->events->arg, side);
}

/* ---- Notifications ---- */

static void on_notify(void *arg, uint32_t events)
{
	struct side *side = arg;

	(void)events;
	side->wakeups++;
}

void side_watch(struct side *side, unsigned int ring, int fd)
{
	int err;

	/* first: its number may be that of the new one */
	loop_remove(side->notify[ring]);
	side->notify[ring] = NULL;
	if (fd < 0)
		return;
	err = loop_add_fd(side->loop, fd, EPOLLIN | EPOLLET, on_notify, side, &side->notify[ring]);
	if (err)
		side_say(side, LOG_WARNING, "ring %u: its eventfd cannot be waited for: %s", ring,
			 strerror(-err));
}

static void add_driver_notes(struct side *side, struct lane *lane, struct side_notes *notes)
{
	struct vhu_driver_stats stats;

	if (!lane->tx)
		return;
	vhu_driver_get_stats(vhu_net_tx_driver(lane->tx), &stats);
	notes->kicks += stats.kicks;
	vhu_driver_get_stats(vhu_net_rx_driver(lane->rx), &stats);
	notes->kicks += stats.kicks;
	/* each call has raised the count of its eventfd, and nobody else reads it */
	for (unsigned int ring = 2 * lane->index; ring < 2 * lane->index + 2; ring++) {
		int fd = vhu_frontend_call_fd(side->frontend, ring);
		uint64_t count;

		if (side->notify[ring] && fd >= 0 &&
		    read(fd, &count, sizeof(count)) == sizeof(count))
			side->calls_read += count;
	}
}

void side_count_notes(struct side *side, struct side_notes *ret_notes)
{
	struct vhu_queue_stats stats;

	*ret_notes = (struct side_notes){
		.kicks_exact = !side->where.is_device,
		.calls_exact = true,
	};
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];

		if (!side->where.is_device) {
			add_driver_notes(side, lane, ret_notes);
			continue;
		}
		vhu_queue_stats(lane->in, &stats);
		ret_notes->calls += stats.calls;
		vhu_queue_stats(lane->out, &stats);
		ret_notes->calls += stats.calls;
	}
	if (side->where.is_device)
		ret_notes->kicks = side->wakeups;
	else
		ret_notes->calls = side->calls_read;
}

uint64_t side_chains_lost(struct side *side)
{
	uint64_t lost = 0;

	if (side->where.is_device)
		return 0;
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];
		struct vhu_driver_stats stats;
		struct vhu_driver *rx;

		if (!lane->tx)
			continue;
		lost += vhu_net_tx_outstanding(lane->tx);
		/* all receive buffers are with the device, or something is not counted right */
		rx = vhu_net_rx_driver(lane->rx);
		vhu_driver_get_stats(rx, &stats);
		lost += stats.added - stats.taken - vhu_driver_outstanding(rx);
	}
	return lost;
}

int side_open(struct side *side, struct loop *loop)
{
	const char *path = side->where.path;
	size_t len = strlen(path), room = sizeof(side->name) - sizeof("frontend ...");

	side->loop = loop;
	side->nr_lanes = side->options->pairs;
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		side->lanes[i].is_device = side->where.is_device;
		side->lanes[i].index = i;
	}
	snprintf(side->name, sizeof(side->name), "%s %s%s",
		 side->where.is_device ? "frontend" : "backend", len > room ? "..." : "",
		 len > room ? path + len - room : path);
	return side->where.is_device ? side_device_open(side) : side_driver_open(side);
}

void side_close(struct side *side)
{
	for (unsigned int i = 0; i < 2 * BENCH_QUEUES_MAX; i++) {
		loop_remove(side->notify[i]);
		side->notify[i] = NULL;
	}
	loop_remove(side->control);
	side->control = NULL;
	if (side->where.is_device)
		side_device_close(side);
	else
		side_driver_close(side);
}
