/* SPDX-License-Identifier: MIT */
/* What the command line of vhu bench asks for; knows nothing of how it is done. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/rate.h"

enum {
	BENCH_SIDES_MAX = 2,
	BENCH_QUEUES_MAX = 128,
	BENCH_SIZE_MIN = 64,
	BENCH_SIZE_MAX = 65535,
	BENCH_SIZE_MTU = 1518, /* the longest frame where nobody says otherwise */
	BENCH_HDR_LEN = 12,
	BENCH_RX_BUFFER = 2048, /* of a receive ring, where a frame takes several */
};

enum bench_mode {
	BENCH_SOURCE,
	BENCH_SINK,
	BENCH_ECHO,
	BENCH_FORWARD,
	BENCH_LOOP,
	BENCH_LATENCY,
	BENCH_MODE_END,
};

enum bench_ring {
	BENCH_RING_ANY,
	BENCH_RING_SPLIT,
	BENCH_RING_PACKED,
};

/* One connection: whom we meet there, and who listens. */
struct bench_side_options {
	const char *path;
	bool is_device; /* the other side is a frontend: we are the device */
	bool is_server;
};

struct bench_options {
	enum bench_mode mode;
	struct bench_side_options sides[BENCH_SIDES_MAX];
	unsigned int nr_sides;

	/* Traffic. */
	unsigned int size; /* of a frame, without FCS */
	bool is_imix;
	bool is_tso;
	bool verify;
	bool swap; /* MAC addresses of what is sent back */
	bool drop; /* what has no room, instead of waiting for room */
	bool one_way;
	unsigned int window; /* frames on their way at once, each flow */
	uint8_t src[6], dst[6];
	unsigned int vlan; /* 0: none */
	struct rate rate;

	/* Rings and features. */
	enum bench_ring ring;
	unsigned int ring_size;
	unsigned int pairs;
	unsigned int pieces;
	bool no_mrg, no_indirect, no_event_idx, no_csum, in_order, in_flight, huge;
	bool poll;

	/* When it ends; 0: no such end. */
	uint64_t run_ns;
	uint64_t wait_ns;
	uint64_t frames;

	bool json;
	bool quiet;
	bool no_sandbox;
};

const char *bench_mode_name(enum bench_mode mode);

/* BENCH_GO: start. Else the exit status; what there was to say has been said. */
enum {
	BENCH_GO = -1,
};
int bench_options_parse(int argc, char **argv, struct bench_options *ret_options);

#endif
