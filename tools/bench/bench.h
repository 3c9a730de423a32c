/* SPDX-License-Identifier: MIT */
/* A measurement: its sides, its traffic, how far it is. Knows nothing of how it is shown. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "bench/clock.h"
#include "bench/hist.h"
#include "bench/options.h"
#include "bench/rate.h"
#include "bench/side.h"
#include "bench/traffic.h"
#include "bench/verify.h"
#include "common/loop.h"

enum bench_phase {
	BENCH_RUN,
	BENCH_DRAIN, /* nothing new is sent; what is on its way comes home */
	BENCH_END,
};

/* What the sender of a flow knows of it. */
struct bench_flow {
	struct verify_flow *back; /* NULL: nobody brings it back */
	uint64_t written_off;	  /* no longer waited for */
	uint64_t at_death;	  /* of those, on their way when the other half died */
	uint64_t too_early;	  /* of those, sent before the first came back */
	/* At the last look for losses. */
	uint64_t looked_ns, away, unique, gaps, reordered;
};

/* Cells that never came back, by who is to blame. */
struct bench_losses {
	uint64_t lost, at_death, too_early;
};

struct bench {
	struct bench_options options;
	struct bench_clock clock;
	struct loop *loop;
	struct loop_source *tick, *timer, *signals;
	struct side_events events;
	struct side *sides[BENCH_SIDES_MAX];
	unsigned int nr_sides;

	struct traffic traffic;
	struct verify verify;
	bool judges; /* frames that come are looked at */
	struct bench_flow flows[BENCH_SIDES_MAX][BENCH_QUEUES_MAX];
	struct bucket buckets[BENCH_SIDES_MAX];
	uint64_t left[BENCH_SIDES_MAX]; /* frames that each side still has to send */
	uint64_t nr_taken;		/* frames that came and were dealt with */
	struct hist latency_ns;
	uint64_t asked_ns; /* latency: when the frame went */

	/* One visit to every lane: true if something was done. */
	bool (*turn)(struct bench *bench);
	bool look_again;  /* somebody has to be looked at again without a notification */
	uint64_t pace_ns; /* until the rate lets a frame go; 0: it does not hold one back */

	enum bench_phase phase;
	bool failed;
	int signal; /* that ended it; 0: none */
	uint64_t now_ns, opened_ns, up_ns, begin_ns, end_ns, drain_ns;
	uint64_t looked_ns;   /* at what the control side has to say */
	uint64_t progress_ns; /* last time that something came home */
	uint64_t progress_nr;
	uint64_t cpu_ns; /* that the process used while it ran */
	/* Each second, to show how it goes; what was shown last, by side: sent, received. */
	void (*on_second)(struct bench *bench);
	uint64_t shown_ns;
	struct lane_count shown[2];
};

/* 0, or -1 when what is wrong has been said. Sockets and memory are made; before the sandbox. */
int bench_open(struct bench *bench, const struct bench_options *options);
/* Runs it to its end. 0 or -errno. */
int bench_run(struct bench *bench);
void bench_close(struct bench *bench);

/* modes.c: chooses the turn of the mode. */
void bench_choose_turn(struct bench *bench);
bool bench_all_up(const struct bench *bench);
/* Frames on their way that are waited for; of one flow, of all. */
uint64_t bench_outstanding(struct bench *bench, unsigned int side, unsigned int lane);
uint64_t bench_all_outstanding(struct bench *bench);
/* The other half has died: what is on its way is not waited for any longer. */
void bench_write_off(struct bench *bench);
/* Lets the windows of those go on that lost something; every now and then. */
void bench_look_for_losses(struct bench *bench);
void bench_losses(const struct bench *bench, struct bench_losses *ret_losses);

#endif
