/* SPDX-License-Identifier: MIT */
/*
 * A worker: a thread that takes frames from the queues given to it and hands them to the
 * forwarding. It knows no kind of port.
 */
#ifndef SW_WORKER_H
#define SW_WORKER_H

#include <pthread.h>

#include "switch/forward.h"
#include "switch/port.h"

/* A first-in first-out list of names of queues. */
struct sw_ids {
	uint64_t *id;
	uint32_t mask; /* places less one; a power of two less one */
	uint32_t head, tail;
};

struct sw_worker {
	struct vhu_switch *sw;
	unsigned int index;
	struct vhu_domain *domain;
	struct vhu_reader *reader;
	struct vhu_net_burst *burst;
	int epoll_fd; /* kicks; taps; wake_fd; tick_fd */
	int wake_fd;  /* the control thread has something to say */
	int tick_fd;  /* for queues that no event tells of */
	pthread_t thread;
	bool is_running; /* control thread */

	/* For the watchdog. */
	_Atomic uint64_t beat;
	atomic_bool is_asleep;
	atomic_int tid;
	uint64_t last_beat; /* control thread */

	atomic_bool has_attention;
	atomic_bool is_stopping;

	/* The worker's own. */
	struct sw_ids active;
	struct sw_ids waiting;
	bool is_ticking;
	struct sw_forward forward;
};

int sw_worker_init(struct sw_worker *worker, struct vhu_switch *sw, unsigned int index);
void sw_worker_destroy(struct sw_worker *worker);
int sw_worker_start(struct sw_worker *worker);
/* Waits for the thread's end. */
void sw_worker_stop(struct sw_worker *worker);

/* Control thread: the worker is to look at this queue now. */
void sw_worker_attend(struct sw_worker *worker, struct sw_queue *queue);
/* Control thread: events of fd mean work for this queue. Edge-triggered, never read for the event. */
int sw_worker_watch(struct sw_worker *worker, struct sw_queue *queue, int fd);
void sw_worker_unwatch(struct sw_worker *worker, int fd);

#endif
