/* SPDX-License-Identifier: MIT */
/*
 * One connection of a measurement, as a frontend or as a backend: comes up, goes, comes back. It
 * knows nothing of what its lanes carry.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <vhu/backend.h>
#include <vhu/frontend.h>

#include "bench/clock.h"
#include "bench/hist.h"
#include "bench/lane.h"
#include "bench/options.h"
#include "common/loop.h"

struct side;

/* What a side tells whoever runs the measurement. Any of these may come at any time within
 * loop_turn() and side_ functions. */
struct side_events {
	/* Rings came or went. */
	void (*changed)(void *arg, struct side *side);
	/* Before the other half's wishes are followed: nothing that was taken may be held on to. */
	void (*let_go)(void *arg, struct side *side);
	/* Cannot go on; the reason has been said. */
	void (*failed)(void *arg, struct side *side);
	void *arg;
};

/* An outage: from the other half's end to the first frame after it has come back. */
struct side_outage {
	bool is_open, is_back;
	uint64_t gone_ns, back_ns;
};

struct side {
	struct bench_side_options where;
	const struct bench_options *options;
	const struct side_events *events;
	struct bench_clock *clock;
	unsigned int index;
	char name[40]; /* "backend /run/a.sock", its end if it is long */

	struct lane lanes[BENCH_QUEUES_MAX];
	unsigned int nr_lanes;
	uint32_t frame_max;
	uint64_t features; /* agreed */
	bool is_up;	   /* at least the first lane is */
	bool was_up;
	bool has_failed;
	struct loop *loop;
	struct loop_source *control;

	/* Driver. */
	struct vhu_memory *memory;
	struct vhu_frontend *frontend;
	/* Device. */
	struct vhu_domain *domain;
	struct vhu_backend *backend;

	struct loop_source *notify[2 * BENCH_QUEUES_MAX]; /* calls or kicks, by ring */
	uint64_t wakeups;				  /* notifications that were seen */
	uint64_t calls_read; /* driver: calls, counted by their eventfds */

	/* The other half's comings and goings. */
	unsigned int connections;
	struct side_outage outage;
	unsigned int recoveries;
	struct hist outage_ns, recovery_ns;
};

/* 0, or -1 when what is wrong has been said. Before the sandbox. */
int side_open(struct side *side, struct loop *loop);
void side_close(struct side *side);
/* The first frame has passed: ends an outage that was open. */
void side_passed(struct side *side);
/* Notifications in both directions. */
struct side_notes {
	uint64_t kicks, calls;
	bool kicks_exact, calls_exact; /* else they were seen, and several may be one */
};
void side_count_notes(struct side *side, struct side_notes *ret_notes);
/* Chains that did not come back: what should be 0 once all was given back. */
uint64_t side_chains_lost(struct side *side);

/* For the two halves alone. */
int side_driver_open(struct side *side);
void side_driver_close(struct side *side);
int side_device_open(struct side *side);
void side_device_close(struct side *side);

void side_say(const struct side *side, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Says why, and ends the measurement. */
void side_fail(struct side *side, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void side_gone(struct side *side);
void side_back(struct side *side);
void side_set_up(struct side *side, bool up);
/* Counts a ring's notifications from now on; fd -1: no longer. */
void side_watch(struct side *side, unsigned int ring, int fd);
/* virtio features as the options want them, of either half. */
uint64_t side_features(const struct bench_options *options);

#endif
