/* SPDX-License-Identifier: MIT */
/*
 * Ports as the workers see them: queues to take frames from and to put frames into, and the few
 * functions in which the kinds of ports differ.
 *
 * The control thread makes and frees ports; workers reach them only through the view that is
 * published at the moment, and hold nothing of it when they say quiescent. What a worker keeps for
 * longer is a sw_id, which simply finds nothing once its port has gone.
 */
#ifndef SW_PORT_H
#define SW_PORT_H

#include <stdatomic.h>
#include <vhu/backend.h>
#include <vhu/net.h>

#include "switch/port_spec.h"
#include "switch/switch.h"

struct sw_worker;
struct sw_port;

/* What a worker remembers of a queue as a destination. Its own. */
struct sw_touch {
	uint64_t burst; /* number of the burst that touched it last */
	uint32_t dest;	/* its place among that burst's destinations */
	bool is_stuck;	/* the last retry was in vain: no more of them until it takes a frame */
};

/* One queue pair. */
struct sw_queue {
	struct sw_port *port;
	uint16_t index;
	uint16_t worker; /* who takes frames from it */

	/* Rings of a vhost-user port. */
	struct vhu_queue *rx, *tx;
	atomic_int kick_fd; /* of rx; -1: none, look at it by the clock */

	/* The control thread says "look at this"; the worker takes it back. */
	atomic_bool attention;

	/* Its worker's own. */
	bool is_listed;	 /* in the list of active queues */
	bool is_waiting; /* in the list of queues to be looked at by the clock */

	struct sw_touch *touch;	      /* one for each worker */
	struct sw_counters *counters; /* one for each worker, so that each has one writer */
};

/* Where a visit of a queue ended. */
enum sw_visit {
	SW_VISIT_MORE,	/* there may be more: come again */
	SW_VISIT_EMPTY, /* an event will tell of more */
	SW_VISIT_CLOCK, /* no event will: look again in a moment */
};

struct sw_port_ops {
	const char *kind;
	bool is_mirror; /* gets a copy of everything and is no member of the bridge */

	/* Control thread. open: once, opens what the spec names. start: it is published, the workers
	 * may have it from now on; may be NULL. close: ends what runs; 0 or -EINPROGRESS, then it is
	 * called again later. free: also after open has failed. */
	int (*open)(struct sw_port *port, char *err, size_t size);
	void (*start)(struct sw_port *port);
	int (*close)(struct sw_port *port);
	void (*free)(struct sw_port *port);
	void (*info)(const struct sw_port *port, struct sw_port_info *info);
	/* Adds what the kind counts itself; may be NULL. */
	void (*count)(const struct sw_queue *queue, struct sw_counters *counters);

	/* A worker, online. visit takes a burst; the others are for a destination. */
	enum sw_visit (*visit)(struct sw_worker *worker, struct sw_queue *queue);
	uint32_t (*caps)(const struct sw_queue *queue);
	bool (*trylock)(struct sw_queue *queue);
	void (*unlock)(struct sw_queue *queue);
	int (*push)(struct sw_queue *queue, const struct vhu_net_frame *frame);
	int (*commit)(struct sw_queue *queue);
	void (*rewind)(struct sw_queue *queue);
	/* The worker has taken the queue's attention, and goes to sleep. May be NULL. */
	void (*attend)(struct sw_queue *queue);
	void (*idle)(struct sw_queue *queue);
};

struct sw_port {
	const struct sw_port_ops *ops;
	struct vhu_switch *sw;
	struct sw_spec spec;
	uint32_t serial; /* never used again, unlike the slot */
	uint16_t slot;
	unsigned int nr_queues;
	struct sw_queue *queue;

	/* Destination queues that can take frames, a bit for each. */
	_Atomic uint64_t tx_up[SW_QUEUES_MAX / 64];
	_Atomic unsigned int mtu; /* in force; 0: none */
	/* A station to be announced, with RARP_PENDING, and from which VLAN on; 0: none. */
	_Atomic uint64_t rarp;

	/* The kind's own. */
	void *kind;

	/* Control thread. */
	struct sw_port *next;
	int failed;	 /* -errno if it is of no further use */
	uint64_t ticket; /* once that has passed no worker holds it */
};

#define SW_RARP_PENDING (UINT64_C(1) << 63)

/* The ports at one moment; never changed once it is published. */
struct sw_view {
	unsigned int nr_members, nr_mirrors;
	struct sw_port *slot[SW_PORTS_MAX];
	struct sw_port *member[SW_PORTS_MAX];
	struct sw_port *mirror[SW_PORTS_MAX];

	/* Control thread, once it is replaced. */
	struct sw_view *next;
	uint64_t ticket;
};

/* A queue's name that outlives it. */
static inline uint64_t sw_id(const struct sw_queue *queue)
{
	return (uint64_t)queue->port->serial << 32 | (uint64_t)queue->port->slot << 16 |
	       queue->index;
}

/* The queue of that name, or NULL if it has gone. */
static inline struct sw_queue *sw_find(const struct sw_view *view, uint64_t id)
{
	struct sw_port *port = view->slot[id >> 16 & (SW_PORTS_MAX - 1)];

	if (!port || port->serial != id >> 32 || (id & 0xffff) >= port->nr_queues)
		return NULL;
	return &port->queue[id & 0xffff];
}

/* Counters have one writer each and are read by the control thread at any time. */
static inline void sw_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline void sw_port_set_up(struct sw_port *port, unsigned int queue, bool is_up)
{
	uint64_t bit = UINT64_C(1) << (queue & 63);

	if (is_up)
		atomic_fetch_or(&port->tx_up[queue / 64], bit);
	else
		atomic_fetch_and(&port->tx_up[queue / 64], ~bit);
}

extern const struct sw_port_ops sw_port_vhost_ops;
extern const struct sw_port_ops sw_port_tap_ops;
extern const struct sw_port_ops sw_port_pcap_ops;

#endif
