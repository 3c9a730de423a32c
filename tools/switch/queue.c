// SPDX-License-Identifier: MIT
/*
 * Which worker has which queue, from the control thread's side: watched, looked after, given to
 * another worker. It knows nothing of frames.
 *
 * A queue that changes hands has no owner for a moment: until the old worker has passed a ticket it
 * may still be in a burst from it. Kicks that come meanwhile stay in their eventfd, and the new owner
 * looks at the queue before it waits for any.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "switch/control.h"

static struct sw_worker *owner(const struct sw_queue *queue)
{
	unsigned int index = sw_hold_owner(atomic_load(&queue->hold));

	return index == SW_NOBODY ? NULL : &queue->port->sw->worker[index];
}

static void watch(struct sw_worker *worker, struct sw_queue *queue)
{
	int fd = atomic_load(&queue->kick_fd), ret;

	if (fd < 0)
		return;
	ret = sw_worker_watch(worker, sw_id(queue, atomic_load(&queue->hold)), fd);
	if (!ret)
		return;
	atomic_store(&queue->kick_fd, -1);
	sw_log(queue->port->sw, LOG_WARNING,
	       "%s: queue %u: its kick file cannot be waited for (%s): polled",
	       queue->port->spec.name, queue->index, strerror(-ret));
}

void sw_queue_watch(struct sw_queue *queue, int fd)
{
	struct sw_worker *worker = owner(queue);

	sw_queue_unwatch(queue);
	atomic_store(&queue->kick_fd, fd);
	if (worker)
		watch(worker, queue);
}

void sw_queue_unwatch(struct sw_queue *queue)
{
	struct sw_worker *worker = owner(queue);
	int fd = atomic_exchange(&queue->kick_fd, -1);

	if (fd >= 0 && worker)
		sw_worker_unwatch(worker, fd);
}

void sw_queue_attend(struct sw_queue *queue, unsigned int what)
{
	struct sw_worker *worker = owner(queue);

	if (worker)
		sw_worker_attend(worker, queue, what);
	else
		/* It is looked at as soon as it has an owner. */
		atomic_fetch_or(&queue->attention, (uint8_t)what);
}

/* ---- Changing hands ---- */

static void move(struct sw_queue *queue, unsigned int to)
{
	struct vhu_switch *sw = queue->port->sw;
	struct sw_worker *worker = owner(queue);
	uint32_t generation = (atomic_load(&queue->hold) >> 8) + 1;
	int fd = atomic_load(&queue->kick_fd);

	queue->move_to = to;
	if (!worker || worker->index == to)
		return;
	if (fd >= 0)
		sw_worker_unwatch(worker, fd);
	atomic_store(&queue->hold, sw_hold(generation, SW_NOBODY));
	queue->move_ticket = vhu_domain_ticket(sw->domain);
	queue->next_move = sw->moves;
	sw->moves = queue;
}

/* Nobody holds it, and nobody can find it: what the old worker kept in it begins anew. */
static void finish(struct sw_queue *queue)
{
	struct sw_worker *worker = &queue->port->sw->worker[queue->move_to];
	uint32_t generation = atomic_load(&queue->hold) >> 8;

	queue->is_listed = false;
	queue->is_waiting = false;
	queue->frame_len = 0;
	queue->spin = (struct sw_spin){ 0 };
	atomic_store(&queue->hold, sw_hold(generation, queue->move_to));
	watch(worker, queue);
	sw_worker_attend(worker, queue, SW_ATTEND_VISIT);
}

bool sw_moves_finish(struct vhu_switch *sw)
{
	struct sw_queue **link = &sw->moves;

	while (*link) {
		struct sw_queue *queue = *link;

		if (!vhu_domain_passed(sw->domain, queue->move_ticket)) {
			link = &queue->next_move;
			continue;
		}
		*link = queue->next_move;
		finish(queue);
	}
	return sw->moves;
}

int sw_move_queue(struct vhu_switch *sw, const char *name, unsigned int queue, unsigned int worker)
{
	struct sw_port *port = sw_find_port(sw, name);

	if (!port || queue >= port->nr_queues)
		return -ENOENT;
	if (worker >= sw->nr_workers)
		return -EINVAL;
	if (port->ops->is_mirror)
		return -EOPNOTSUPP;
	move(&port->queue[queue], worker);
	/* A worker that sleeps has let go already, and will tell of nothing. */
	sw_moves_finish(sw);
	return 0;
}

void sw_moves_forget(struct sw_port *port)
{
	struct sw_queue **link = &port->sw->moves;

	while (*link) {
		if ((*link)->port == port)
			*link = (*link)->next_move;
		else
			link = &(*link)->next_move;
	}
}

/* ---- Modes ---- */

static const char *const mode_names[SW_MODE_END] = {
	[SW_MODE_DEFAULT] = "default",
	[SW_MODE_ADAPTIVE] = "adaptive",
	[SW_MODE_POLL] = "poll",
	[SW_MODE_INTERRUPT] = "interrupt",
};

const char *sw_mode_name(enum sw_mode mode)
{
	return mode_names[mode < SW_MODE_END ? mode : SW_MODE_DEFAULT];
}

enum sw_mode sw_mode_named(const char *name)
{
	for (unsigned int i = SW_MODE_ADAPTIVE; i < SW_MODE_END; i++)
		if (!strcmp(name, mode_names[i]))
			return (enum sw_mode)i;
	return SW_MODE_END;
}

static void set_mode(struct sw_queue *queue, enum sw_mode mode)
{
	atomic_store(&queue->mode, (uint8_t)mode);
	/* It may be asleep and armed, and is to be looked at from now on. */
	sw_queue_attend(queue, SW_ATTEND_VISIT);
}

/* ---- What can change of a port ---- */

static void set_limit(struct sw_port *port, const struct sw_spec *spec)
{
	port->spec.bits_a_second = spec->bits_a_second;
	port->spec.frames_a_second = spec->frames_a_second;
	sw_limit_set(&port->limit, spec->bits_a_second, spec->frames_a_second);
	/* Some may be waiting for the old bucket. */
	for (unsigned int i = 0; i < port->nr_queues; i++)
		sw_queue_attend(&port->queue[i], SW_ATTEND_VISIT);
}

int sw_set_port(struct vhu_switch *sw, const char *name, int queue, const char *options, char *err,
		size_t size)
{
	struct sw_port *port = sw_find_port(sw, name);
	struct sw_spec changed;
	int ret;

	if (size)
		err[0] = '\0';
	if (!port || queue >= (int)port->nr_queues) {
		snprintf(err, size, port ? "it has no such queue" : "there is no such port");
		return -ENOENT;
	}
	changed = port->spec;
	changed.ring_mode = SW_MODE_DEFAULT;
	ret = sw_spec_change(options, &changed, err, size);
	if (ret)
		return ret;
	if (changed.bits_a_second != port->spec.bits_a_second ||
	    changed.frames_a_second != port->spec.frames_a_second) {
		if (queue >= 0) {
			snprintf(err, size, "rate and pps are those of the whole port");
			return -EINVAL;
		}
		set_limit(port, &changed);
	}
	for (unsigned int i = 0; changed.ring_mode && i < port->nr_queues; i++)
		if (queue < 0 || (unsigned int)queue == i)
			set_mode(&port->queue[i], changed.ring_mode);
	return 0;
}
