/* SPDX-License-Identifier: MIT */
/*
 * Ports as the workers see them: queues to take frames from and to put frames into, and the few
 * functions in which the kinds of ports differ.
 *
 * The control thread makes and frees ports; workers reach them only through the view that is
 * published at the moment, and hold nothing of it when they say quiescent. What a worker keeps for
 * longer is a sw_id, which simply finds nothing once its port has gone, or its queue belongs to
 * another worker.
 */
#ifndef SW_PORT_H
#define SW_PORT_H

#include <stdatomic.h>
#include <vhu/backend.h>
#include <vhu/net.h>

#include "switch/bucket.h"
#include "switch/port_spec.h"
#include "switch/spin.h"
#include "switch/switch.h"

struct sw_worker;
struct sw_port;

/* What a worker remembers of a queue as a destination. Its own. */
struct sw_touch {
	uint64_t burst; /* number of the burst that touched it last */
	uint32_t dest;	/* its place among that burst's destinations */
	bool is_stuck;	/* it has taken no frame since it let a wait pass */
	uint32_t owed;	/* frames that it has to take before it is waited for again */
	uint32_t debt;	/* what it owed at first */
};

/* One queue pair. */
struct sw_queue {
	struct sw_port *port;
	uint16_t index;
	/* Who takes frames from it, and how often that has changed; see sw_hold_owner(). */
	_Atomic uint32_t hold;
	_Atomic uint8_t mode; /* enum sw_mode */

	/* Rings of a vhost-user port. */
	struct vhu_queue *rx, *tx;
	atomic_int kick_fd; /* of rx, or of a tap; -1: none, look at it by the clock */

	/* SW_ATTEND_*: the control thread says "look at this"; the worker takes it back. */
	_Atomic uint8_t attention;

	/* Its worker's own. */
	bool is_listed;	    /* in the list of active queues */
	bool is_waiting;    /* in the list of queues to be looked at by the clock */
	uint64_t due_ns;    /* when that is */
	uint64_t frame_len; /* of the frames of its last visit, on average */
	struct sw_spin spin;

	/* Control thread, while it changes hands. */
	struct sw_queue *next_move;
	uint64_t move_ticket; /* once that has passed the old worker has let go of it */
	unsigned int move_to;

	struct sw_touch *touch;	      /* one for each worker */
	struct sw_counters *counters; /* one for each worker, so that each has one writer */
};

/* Why a queue is to be looked at. */
enum {
	SW_ATTEND_VISIT = 0x1, /* there may be frames in it, or it is to be looked at differently */
	SW_ATTEND_RINGS = 0x2, /* a ring has started, or has got another call file */
};

/* Where a visit of a queue ended. */
enum sw_visit {
	SW_VISIT_MORE,	/* there may be more: come again */
	SW_VISIT_DRY,	/* there is nothing just now: come again, or arm it */
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

	/* A worker, online. visit takes a burst, no more than the worker's budget; arm asks for an event
	 * after SW_VISIT_DRY (true: there is work already); the others are for a destination. */
	enum sw_visit (*visit)(struct sw_worker *worker, struct sw_queue *queue);
	bool (*arm)(struct sw_queue *queue);
	uint32_t (*caps)(const struct sw_queue *queue);
	bool (*trylock)(struct sw_queue *queue);
	void (*unlock)(struct sw_queue *queue);
	int (*push)(struct sw_queue *queue, const struct vhu_net_frame *frame);
	/* Several in their order: how many, or the error of the first. May be NULL. */
	int (*push_burst)(struct sw_queue *queue, const struct vhu_net_frame *const *frames,
			  unsigned int nr);
	int (*commit)(struct sw_queue *queue);
	void (*rewind)(struct sw_queue *queue);
	/* The worker has been told SW_ATTEND_RINGS; there is nothing to do just now. May be NULL. */
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
	struct sw_limit limit;	  /* of what is taken from it */
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

/*
 * Who holds a queue: a worker's number and a generation, in one word. Each change of hands begins
 * with a new generation and no owner, and ends, when the old worker can hold no more of it, with the
 * new owner. So within one generation there is one owner at most.
 */
enum {
	SW_NOBODY = 0xff,
	SW_GENERATION_BITS = 12,
	SW_GENERATION_MASK = (1 << SW_GENERATION_BITS) - 1,
	SW_INDEX_BITS = 7,
	SW_SLOT_BITS = 13,
};
_Static_assert(SW_QUEUES_MAX == 1 << SW_INDEX_BITS, "a name has room for the queue");
_Static_assert(SW_PORTS_MAX == 1 << SW_SLOT_BITS, "a name has room for the slot");
_Static_assert((int)SW_WORKERS_MAX < (int)SW_NOBODY, "nobody is no worker");

static inline uint32_t sw_hold(uint32_t generation, unsigned int owner)
{
	return (generation & SW_GENERATION_MASK) << 8 | owner;
}

static inline unsigned int sw_hold_owner(uint32_t hold)
{
	return hold & 0xff;
}

/*
 * A queue's name that outlives it, for the owner in hold. A worker makes names of what it has seen
 * to be its own alone, and keeps the name that it has while it works on the queue: so a name of the
 * present generation is known to the present owner only.
 */
static inline uint64_t sw_id(const struct sw_queue *queue, uint32_t hold)
{
	return (uint64_t)queue->port->serial << 32 |
	       (uint64_t)queue->port->slot << (SW_GENERATION_BITS + SW_INDEX_BITS) |
	       (uint64_t)(hold >> 8) << SW_INDEX_BITS | queue->index;
}

/* The queue of that name, or NULL if it has gone, or has changed hands. */
static inline struct sw_queue *sw_find(const struct sw_view *view, uint64_t id)
{
	unsigned int slot = id >> (SW_GENERATION_BITS + SW_INDEX_BITS) & (SW_PORTS_MAX - 1);
	unsigned int index = id & (SW_QUEUES_MAX - 1);
	struct sw_port *port = view->slot[slot];
	struct sw_queue *queue;

	if (!port || port->serial != id >> 32 || index >= port->nr_queues)
		return NULL;
	queue = &port->queue[index];
	if (atomic_load_explicit(&queue->hold, memory_order_relaxed) >> 8 !=
	    (id >> SW_INDEX_BITS & SW_GENERATION_MASK))
		return NULL;
	return queue;
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
