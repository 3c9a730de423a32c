/* SPDX-License-Identifier: MIT */
/*
 * A worker: a thread that takes frames from the queues given to it and hands them to the
 * forwarding. It knows no kind of port.
 */
#ifndef SW_WORKER_H
#define SW_WORKER_H

#include <pthread.h>

#include "switch/forward.h"
#include "switch/ids.h"
#include "switch/port.h"

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

	/*
	 * Ports with a queue that wants attention: a bit for each slot, and one for each word of those.
	 * The flags of the queues are set before, and taken after.
	 */
	atomic_bool has_attention;
	_Atomic uint64_t attention_words[SW_PORTS_MAX / 64 / 64];
	_Atomic uint64_t attention[SW_PORTS_MAX / 64];
	atomic_bool is_stopping;

	/* The worker's own. */
	struct sw_ids active;
	struct sw_ids waiting;
	uint64_t tick_ns;   /* when the timer goes off; 0: it does not run */
	uint64_t now_ns;    /* read once a round */
	uint64_t looked_ns; /* when events were last looked for */
	uint64_t found_ns;  /* when a frame was last found */
	uint64_t crowd_pause_ns;
	uint64_t crowded_ns; /* until when others want the processor too, as far as one knows */
	bool is_flushed;     /* since then */
	bool is_polling;     /* a queue in that mode, since events were last looked for */
	uint64_t work;	     /* of the present round */
	unsigned int budget; /* frames that the present visit may take */
	uint32_t spin_max_ns;
	struct sw_forward forward;
};

int sw_worker_init(struct sw_worker *worker, struct vhu_switch *sw, unsigned int index);
void sw_worker_destroy(struct sw_worker *worker);
int sw_worker_start(struct sw_worker *worker);
/* Waits for the thread's end. */
void sw_worker_stop(struct sw_worker *worker);

/* Any thread: the worker is to look at this queue now, if it is the worker's. */
void sw_worker_attend(struct sw_worker *worker, struct sw_queue *queue, unsigned int what);
/* Control thread: events of fd mean work for the queue of this name. Edge-triggered, never read for
 * the event. */
int sw_worker_watch(struct sw_worker *worker, uint64_t id, int fd);
void sw_worker_unwatch(struct sw_worker *worker, int fd);

#endif
