/* SPDX-License-Identifier: MIT */
/*
 * The control side of rings: their states, and the views that follow from state, addresses and
 * memory. Knows the data side only through what it publishes.
 */
#include <backend/device.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/fd.h>
#include <ring/record.h>
#include <ring/view.h>

typedef unsigned long long ull;

/* "Ring states": started and enabled are independent bits. */
static const uint8_t ring_next[VHU_RING_STATE_END][RING_ACTION_END] = {
	[VHU_RING_STOPPED_DISABLED] = { [RING_START] = VHU_RING_STARTED_DISABLED,
					[RING_STOP] = VHU_RING_STOPPED_DISABLED,
					[RING_ENABLE] = VHU_RING_STOPPED_ENABLED,
					[RING_DISABLE] = VHU_RING_STOPPED_DISABLED },
	[VHU_RING_STOPPED_ENABLED] = { [RING_START] = VHU_RING_STARTED_ENABLED,
				       [RING_STOP] = VHU_RING_STOPPED_ENABLED,
				       [RING_ENABLE] = VHU_RING_STOPPED_ENABLED,
				       [RING_DISABLE] = VHU_RING_STOPPED_DISABLED },
	[VHU_RING_STARTED_DISABLED] = { [RING_START] = VHU_RING_STARTED_DISABLED,
					[RING_STOP] = VHU_RING_STOPPED_DISABLED,
					[RING_ENABLE] = VHU_RING_STARTED_ENABLED,
					[RING_DISABLE] = VHU_RING_STARTED_DISABLED },
	[VHU_RING_STARTED_ENABLED] = { [RING_START] = VHU_RING_STARTED_ENABLED,
				       [RING_STOP] = VHU_RING_STOPPED_ENABLED,
				       [RING_ENABLE] = VHU_RING_STARTED_ENABLED,
				       [RING_DISABLE] = VHU_RING_STARTED_DISABLED },
};

static bool is_started(enum vhu_ring_state state)
{
	return state == VHU_RING_STARTED_DISABLED || state == VHU_RING_STARTED_ENABLED;
}

void vhu_be_rings_init(struct vhu_backend *be)
{
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		struct ring *ring = &be->rings[i];

		ring->queue = &be->queues[i];
		ring->queue->poisoned = &be->poisoned;
		ring->queue->wake_fd = be->wake_fd;
		ring->state = VHU_RING_STOPPED_DISABLED;
		ring->kick_fd = ring->call_fd = ring->err_fd = -1;
	}
}

void vhu_be_ring_act(struct vhu_backend *be, unsigned int i, enum ring_action action)
{
	struct ring *ring = &be->rings[i];
	enum vhu_ring_state from = ring->state, to = ring_next[from][action];
	struct vhu_event event = { .kind = VHU_EVENT_RING_STATE,
				   .from = (uint8_t)from,
				   .to = (uint8_t)to,
				   .ring = (int16_t)i };

	if (from == to)
		return;
	ring->state = to;
	if (!be->ops.event)
		return;
	event.time_ns = vhu_now_ns();
	be->ops.event(be->arg, &event);
}

static int build_view(struct vhu_backend *be, unsigned int i, const struct device_state *state,
		      struct vhu_view **ret_view, struct vhu_reason *why)
{
	const struct ring *ring = &be->rings[i];
	const struct vhu_vring_addr *addr = &ring->addr;
	const struct vhu_ring_place place = {
		.desc = addr->desc, .avail = addr->avail, .used = addr->used, .is_uva = true
	};
	struct vhu_view *view;
	int err = vhu_view_new(&view, i, ring->num, state->mem, &place, state->features, why);

	if (err)
		return err;
	view->mergeable = vhu_has_bit(state->features, VHU_NET_F_MRG_RXBUF_BIT);
	view->reads_only = i % 2; /* what a guest transmits */
	view->hdr_len =
		view->mergeable || vhu_has_bit(state->features, VHU_F_VERSION_1_BIT) ? 12 : 10;
	if (state->log && vhu_has_bit(state->features, VHU_F_LOG_ALL_BIT))
		view->log_data = state->log;
	if (state->log && (addr->flags & VHU_VRING_F_LOG)) {
		view->log_used = state->log;
		/* a packed ring is written in two places: they are logged where they lie */
		if (!view->packed)
			view->used_gpa = addr->log;
	}
	view->enabled = ring->state == VHU_RING_STARTED_ENABLED;
	view->born_ns = vhu_now_ns();
	view->call_fd = ring->call_fd;
	view->err_fd = ring->err_fd;
	view->serial = ring->serial;
	view->run = &ring->queue->run;
	*ret_view = view;
	return 0;
}

/* A stopped ring's last view, when no reader has it: bursts that were pulled from it are over. */
static void release_last_view(void *what)
{
	struct vhu_view *view = what;

	vhu_store_release(view->run, *view->run + 1);
	free(view);
}

static void publish(struct vhu_backend *be, unsigned int i, struct vhu_view *view)
{
	struct ring *ring = &be->rings[i];
	struct vhu_view *old = ring->queue->view;

	/* pairs with the load in vhu_queue_view() */
	vhu_store_release(&ring->queue->view, view);
	if (old)
		vhu_be_retire(be, view ? free : release_last_view, old);
}

static void stop(struct vhu_backend *be, unsigned int i)
{
	struct ring *ring = &be->rings[i];

	if (!ring->running)
		return;
	ring->running = false;
	ring->base_in_queue = true;
	publish(be, i, NULL);
	ring->stop_ticket = vhu_domain_ticket(be->domain);
	if (be->ops.queue_stopped)
		be->ops.queue_stopped(be->arg, i, ring->kick_fd);
}

uint32_t vhu_be_ring_base(struct ring *ring)
{
	if (ring->base_in_queue) {
		/* what a data thread took and did not come to return has not been taken */
		vhu_ring_rewind(ring->queue);
		ring->base = vhu_queue_base(ring->queue);
	}
	ring->base_in_queue = false;
	return ring->base;
}

static struct device_state state_in_force(const struct vhu_backend *be)
{
	return (struct device_state){ .mem = be->mem, .log = be->log, .features = be->features };
}

int vhu_be_ring_check(struct vhu_backend *be, unsigned int i, struct vhu_reason *why)
{
	const struct ring *ring = &be->rings[i];
	const struct device_state state = state_in_force(be);
	struct vhu_view *view;
	int err;

	if (!ring->num || !ring->have_addr || !be->mem)
		return 0;
	err = build_view(be, i, &state, &view, why);
	if (err)
		return err;
	/* what is in the queue may still move, and has been judged */
	if (!ring->running && !ring->base_in_queue)
		err = vhu_view_judge_base(view, i, ring->base, why);
	free(view);
	return err;
}

static int start_record(struct vhu_backend *be, unsigned int i, const struct vhu_view *view,
			struct vhu_reason *why)
{
	struct vhu_queue *q = be->rings[i].queue;
	int err = vhu_record_start(q, view, be->inflight, i, why);
	struct vhu_reason told;

	if (err || q->inflight || i >= be->inflight->nr_queues)
		return err;
	vhu_refuse(&told, 0, "ring %u: %u entries, the in-flight region has %u: not recorded", i,
		   view->num, be->inflight->queue_size);
	vhu_be_complain(be, told.text);
	return 0;
}

/* Brings the queue to where the ring begins; its view is published next. */
static int start(struct vhu_backend *be, unsigned int i, const struct vhu_view *view,
		 struct vhu_reason *why)
{
	struct ring *ring = &be->rings[i];
	int err;

	/* passed long ago, unless a start follows a refused one at once */
	vhu_domain_wait(be->domain, ring->stop_ticket);
	err = vhu_view_judge_base(view, i, vhu_be_ring_base(ring), why);
	if (err)
		return err;
	err = vhu_queue_prepare(ring->queue, ring->num);
	if (err)
		return vhu_refuse(why, err, "ring %u: out of memory", i);
	vhu_queue_start(ring->queue, view, ring->base);
	err = be->inflight ? start_record(be, i, view, why) : 0;
	if (err)
		return err;
	ring->fault_told = ring->chain_told = ring->deaf_told = false;
	ring->call_pending = ring->err_pending = false;
	ring->running = true;
	return 0;
}

int vhu_be_ring_update(struct vhu_backend *be, unsigned int i, struct vhu_reason *why)
{
	struct ring *ring = &be->rings[i];
	const struct device_state state = state_in_force(be);
	struct vhu_view *view;
	int err;

	if (!is_started(ring->state) || !ring->num || !ring->have_addr || !be->mem) {
		stop(be, i);
		return 0;
	}
	err = vhu_be_own_call(be, i);
	if (err)
		return vhu_refuse(why, err, "ring %u: no call fd: %s", i, strerror(-err));
	err = build_view(be, i, &state, &view, why);
	if (err)
		return err;
	if (!ring->running) {
		err = start(be, i, view, why);
		if (err) {
			free(view);
			return err;
		}
	}
	publish(be, i, view);
	if (be->ops.queue_started)
		be->ops.queue_started(be->arg, i, ring->kick_fd);
	return 0;
}

int vhu_be_rings_rebuild(struct vhu_backend *be, const struct device_state *next,
			 struct vhu_reason *why)
{
	struct vhu_view *views[VHU_MAX_RINGS] = { 0 };
	int err = 0;

	for (unsigned int i = 0; i < be->nr_rings && !err; i++) {
		if (be->rings[i].running)
			err = build_view(be, i, next, &views[i], why);
	}
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		if (!views[i])
			continue;
		if (err) {
			free(views[i]);
			continue;
		}
		publish(be, i, views[i]);
	}
	return err;
}

void vhu_be_rings_stop(struct vhu_backend *be)
{
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		stop(be, i);
		vhu_be_ring_act(be, i, RING_STOP);
		be->rings[i].by_message = false;
	}
}

void vhu_be_rings_clear(struct vhu_backend *be)
{
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		struct ring *ring = &be->rings[i];

		vhu_fd_close(&ring->kick_fd);
		vhu_fd_close(&ring->call_fd);
		vhu_fd_close(&ring->err_fd);
		ring->kick_said = ring->call_said = ring->err_said = false;
		vhu_queue_release(ring->queue);
		ring->state = VHU_RING_STOPPED_DISABLED;
		ring->num = 0;
		ring->base = 0;
		ring->base_in_queue = false;
		ring->have_addr = false;
		vhu_queue_forget_faults(ring->queue);
		ring->fault_told = ring->chain_told = false;
	}
}

bool vhu_be_any_running(const struct vhu_backend *be)
{
	for (unsigned int i = 0; i < be->nr_rings; i++) {
		if (be->rings[i].running)
			return true;
	}
	return false;
}

static void report(struct vhu_backend *be, unsigned int i, enum vhu_ring_fault fault,
		   uint64_t value, bool broken)
{
	struct vhu_reason why;
	size_t used;

	used = (size_t)snprintf(why.text, sizeof(why.text), "ring %u%s: ", i,
				broken ? " is broken" : ", chain refused");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the texts stand in one table of ours */
	snprintf(why.text + used, sizeof(why.text) - used, vhu_ring_fault_text(fault), (ull)value);
#pragma GCC diagnostic pop
	if (broken) {
		vhu_be_emit(be, VHU_EVENT_RING_BROKEN, NULL, (int)i, why.text);
		be->rings[i].err_pending = vhu_be_has_inband(be) && !be->rings[i].err_said;
	}
	vhu_be_complain(be, why.text);
}

int vhu_be_rings_report(struct vhu_backend *be)
{
	bool poisoned = vhu_load_acquire(&be->poisoned);
	bool blocked = false;

	for (unsigned int i = 0; i < be->nr_rings; i++) {
		struct ring *ring = &be->rings[i];
		const struct vhu_queue *q = ring->queue;
		uint32_t fault;

		/*
		 * Also of rings that were stopped meanwhile. Pairs with the stores in
		 * vhu_ring_bad_chain() and vhu_queue_break().
		 */
		fault = vhu_load_acquire(&q->chain_fault);
		if (fault && !ring->chain_told) {
			ring->chain_told = true;
			report(be, i, fault, vhu_read_once(&q->chain_value), false);
		}
		fault = vhu_load_acquire(&q->fault);
		if (!fault || ring->fault_told)
			continue;
		ring->fault_told = true;
		if (fault == VHU_FAULT_POISONED)
			poisoned = true;
		else
			report(be, i, fault, vhu_read_once(&q->fault_value), true);
		if (fault == VHU_FAULT_CALL_BLOCKED)
			blocked = true;
	}
	if (poisoned)
		return -EFAULT;
	return blocked ? -EDEADLK : 0;
}
