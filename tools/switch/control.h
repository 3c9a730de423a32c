/* SPDX-License-Identifier: MIT */
/* The switch as its own control files see it: what is made once and what hangs together. */
#ifndef SW_CONTROL_H
#define SW_CONTROL_H

#include "switch/worker.h"

/* Something in the control thread's poll set. */
struct sw_watch {
	void (*fn)(void *arg);
	void *arg;
	int fd;
};

struct vhu_switch {
	struct sw_options options;
	struct vhu_domain *domain;
	struct sw_fdb *fdb;
	int epoll_fd;
	bool is_running;

	struct sw_worker *worker;
	unsigned int nr_workers;

	/* Published to the workers. */
	struct sw_view *_Atomic view;
	/* Control thread. */
	struct sw_view *old_views; /* replaced; each until its ticket has passed */
	struct sw_port *ports;	   /* in the order of their making */
	struct sw_port *last_found;
	struct sw_port *leaving; /* removed, until nobody holds them */
	struct sw_queue *moves;	 /* without an owner, until the old one has let go */
	struct sw_port *slot[SW_PORTS_MAX];
	uint32_t serial;

	struct sw_watch domain_watch;
	struct sw_watch aging_watch;
	struct sw_watch watchdog_watch;
	atomic_bool is_aging;	 /* its timer runs */
	atomic_bool is_guarding; /* the watchdog's timer runs */
};

void sw_log(struct vhu_switch *sw, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* NULL: there is none of that name, or it has been removed. */
struct sw_port *sw_find_port(struct vhu_switch *sw, const char *name);

/* Readable: fn is called with arg. The watch has to stay until it is removed. */
int sw_watch_add(struct vhu_switch *sw, struct sw_watch *watch, int fd, uint32_t events,
		 void (*fn)(void *arg), void *arg);
void sw_watch_remove(struct vhu_switch *sw, struct sw_watch *watch);

/* CLOCK_MONOTONIC, coarse. */
uint64_t sw_now_ms(void);

/* Events of this fd mean work for the queue, whoever has it; -1: no event tells. */
void sw_queue_watch(struct sw_queue *queue, int fd);
void sw_queue_unwatch(struct sw_queue *queue);
/* Whoever has the queue looks at it now, for a reason of SW_ATTEND_*. Its own worker may ask too. */
void sw_queue_attend(struct sw_queue *queue, unsigned int what);
/* Gives queues whose old worker has let go to their new one. True: there are others. */
bool sw_moves_finish(struct vhu_switch *sw);
/* The port goes: nobody gets its queues. */
void sw_moves_forget(struct sw_port *port);

/* Any thread: something is worth aging, or worth watching over, from now on. */
void sw_aging_begin(void *sw);
void sw_watchdog_begin(struct vhu_switch *sw);
int sw_aging_init(struct vhu_switch *sw);
int sw_watchdog_init(struct vhu_switch *sw);

/* Takes SIGBUS and SW_SIGNAL for this switch; there can be one in a process. */
int sw_signals_take(struct vhu_switch *sw);
void sw_signals_drop(struct vhu_switch *sw);

/* A port whose backend or device is of no further use: it stays, and does nothing. */
void sw_port_failed(struct sw_port *port, int err);

#endif
