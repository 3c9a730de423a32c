/* SPDX-License-Identifier: MIT */
/*
 * What came: frames judged, and each flow's numbers kept account of. It knows nothing of where they
 * came from.
 */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/track.h"
#include "bench/traffic.h"

enum {
	VERIFY_FLOWS_MAX = 1024, /* of all senders and runs; a power of two */
};

struct verify_flow {
	uint32_t run;
	uint16_t id;
	struct track track;
};

struct verify {
	const struct traffic *traffic;
	bool own_only; /* frames of other runs are foreign */
	uint64_t cells, foreign, corrupt;
	uint64_t plain; /* cells without a pattern: their bytes are anybody's guess */
	unsigned int nr;
	struct verify_flow *flows[VERIFY_FLOWS_MAX];
	struct verify_flow *last;
};

void verify_init(struct verify *verify, const struct traffic *traffic, bool own_only);
void verify_fini(struct verify *verify);
/* A flow of this run, before its first frame was sent. NULL: no memory. */
struct verify_flow *verify_own(struct verify *verify, uint16_t id);
/* Judges a frame. */
void verify_frame(struct verify *verify, const struct vhu_net_frame *frame);

struct verify_sum {
	uint64_t unique, missing, duplicates, reordered;
};
void verify_sum(const struct verify *verify, struct verify_sum *ret_sum);

#endif
