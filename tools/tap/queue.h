/* SPDX-License-Identifier: MIT */
/*
 * The way of the frames of vhu tap: each queue of the interface and the pair of rings that belongs
 * to it. It knows nothing of how a backend is found, and of what was agreed but the features.
 *
 * One thread. Nothing spins: a queue with nothing to do waits for the interface and for the calls
 * of its rings.
 */
#ifndef TAP_QUEUE_H
#define TAP_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <vhu/net_driver.h>

#include "common/loop.h"

/* As the host sees it: sent went from the interface to the backend. */
struct queue_counters {
	uint64_t sent_frames, sent_bytes;
	uint64_t received_frames, received_bytes;
	uint64_t drop_header;  /* from the interface: asks for more than was agreed */
	uint64_t drop_long;    /* from the interface: longer than any frame */
	uint64_t drop_bad;     /* from the backend: cannot be */
	uint64_t drop_down;    /* from the backend: the interface is down */
	uint64_t drop_refused; /* from the backend: the kernel does not take it */
};

struct queue_set;

struct queue {
	struct queue_set *set;
	int tap_fd; /* borrowed */
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	uint64_t features;
	struct loop_source *tap_source, *tx_source, *rx_source;
	bool is_running;
	bool is_reading; /* the interface; not while the transmit ring is full */
	bool has_more;	 /* the budget was used up */
	uint64_t bad_seen;
	struct queue_counters counters;
};

struct queue_ops {
	/* A ring cannot be followed any more. The queue was halted. */
	void (*broken)(void *arg, const char *reason);
	/* The interface was removed. */
	void (*vanished)(void *arg);
};

struct queue_set {
	struct loop *loop;
	const struct queue_ops *ops;
	void *arg;
	int again_fd; /* raised when a queue has more to do than its budget allowed */
	struct loop_source *again;
	unsigned int nr;
	struct queue *queue;
};

/* nr queues, all at rest. 0 or -errno; then free it all the same. */
int queue_set_init(struct queue_set *set, struct loop *loop, unsigned int nr,
		   const struct queue_ops *ops, void *arg);
/* Frees rings too. */
void queue_set_free(struct queue_set *set);

struct queue_rings {
	struct vhu_memory *memory;
	uint64_t features; /* agreed */
	uint32_t num;	   /* entries of each ring */
};
/* Bytes of memory that the rings of one queue want. */
uint64_t queue_memory(const struct queue_rings *rings);
/* Makes rings; there are none. 0 or -errno, then there are none still. */
int queue_lay_rings(struct queue *queue, const struct queue_rings *rings);
/* The calls of its rings arrive there: all fds are borrowed until queue_unwatch(). */
int queue_watch(struct queue *queue, int tap_fd, int rx_call_fd, int tx_call_fd);
/* Halts it too. */
void queue_unwatch(struct queue *queue);
/* After queue_unwatch(), and when no frontend knows their drivers any more. */
void queue_free_rings(struct queue *queue);

/* A backend serves the rings: buffers are supplied, frames pass. */
void queue_run(struct queue *queue);
/* No ring is touched from now on, no frame taken from the interface. */
void queue_halt(struct queue *queue);
/* Puts a frame of our own into the transmit ring, if there is room. */
void queue_send_own(struct queue *queue, const uint8_t *frame, uint32_t len);

#endif
