/* SPDX-License-Identifier: MIT */
/*
 * Both sides of a ring on two threads that sleep as often as they can, and who looks after them. How
 * many chains go through which rings, others say.
 */
#ifndef TESTS_PAIR_NOTIFY_STRESS_H
#define TESTS_PAIR_NOTIFY_STRESS_H

#include "frontend_fixture.h"

struct notify_counts {
	uint64_t nr_short, nr_long; /* chains through a ring of less than 16 entries, or of more */
	unsigned int laps;	    /* and so many times round it */
	uint32_t size_max;
};

/*
 * Runs every kind of ring (split or packed, flags or event index), from either side, at sizes from 1 to
 * size_max.
 */
int notify_stress_main(const struct notify_counts *counts);

/*
 * ---- Between its files ----
 */

/* Written by one thread, looked at by another. */
#define notify_peek(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
#define notify_poke(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)

struct notify_choice {
	uint64_t features;
	uint32_t num;
	bool transmits; /* driver to device: ring 1; else ring 0 */
	char name[64];
};

/* One of the two threads. */
struct notify_side {
	const char *name;
	pthread_t thread;
	int tid;
	int epoll_fd, event_fd, wake_fd;
	uint32_t ring_size;
	bool reads; /* its eventfd when it wakes; else each write is an event, whatever the count */
	uint64_t random;
	unsigned int nr_polls; /* left, before it may sleep */
	uint32_t sleep;	       /* atomic: odd while it sleeps */
	uint64_t work;	       /* atomic: chains that the other one has published for it */
	uint64_t done;	       /* atomic: how many of them it has taken */
	uint64_t nr_slept, nr_polled;
	bool has_ended; /* atomic */
};

struct notify {
	const struct notify_choice *choice;
	struct front front;
	struct fixture fix;
	struct notify_side driver, device;
	struct vhu_queue *queue;
	struct vhu_driver *ring;
	struct vhu_reader *reader;
	struct vhu_net_burst *burst;
	uint64_t nr_chains;
	uint32_t nr_masks, nr_restarts;
	uint32_t nr_changes; /* atomic: told to the device */
	uint32_t nr_seen;    /* atomic: those after which it has looked */
	bool hold, is_held;  /* atomic: the driver is to stand still, and does */
	bool give_up;
	char trouble[256]; /* of the thread that set has_trouble */
	bool has_trouble;
};

/* The two threads; their argument is the struct notify. */
void *notify_device_thread(void *arg);
void *notify_driver_thread(void *arg);
/* Ends a sleep. */
void notify_wake(const struct notify_side *side);
/* Looks after the threads until both have ended. What is wrong, or NULL. */
const char *notify_watch(struct notify *s);
/* Prints how far everybody is, while the threads may still move: for people. */
void notify_show(const struct notify *s);

#endif
