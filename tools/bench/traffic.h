/* SPDX-License-Identifier: MIT */
/*
 * Frames of our own: how they are made, and how they are judged when they come back. Pure: knows
 * nothing of rings, connections and clocks.
 *
 * A frame is UDP over IPv4, or TCP where it is longer than a packet and to be cut by others. What
 * follows its headers is one cell, or with TCP one for each segment: a label with flow, run and
 * number, then bytes of a pattern that depend on them. So frames can be told apart wherever they
 * were cut.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>
#include <vhu/net.h>

enum {
	TRAFFIC_LABEL_LEN = 18,
	TRAFFIC_HEAD_MAX = 14 + 4 + 20 + 20 + TRAFFIC_LABEL_LEN,
	TRAFFIC_MSS = 1448,
	TRAFFIC_SIZES_MAX = 12,
};

struct traffic_options {
	uint32_t size; /* 0: imix, 7 of 64 to 4 of 570 to 1 of 1518 bytes */
	bool is_tso;
	bool with_pattern; /* else headers and labels alone are written and read */
	unsigned int vlan; /* 0: none */
	uint32_t run;	   /* tells our frames from those of earlier runs */
};

/* What all flows have in common. */
struct traffic {
	struct traffic_options options;
	uint32_t sizes[TRAFFIC_SIZES_MAX];
	unsigned int nr_sizes;
	unsigned int head_len; /* up to the first label */
	unsigned int nr_cells; /* of a frame */
	uint8_t *pattern;
};

/* 0 or -ENOMEM. The sizes may be rounded so that no segment is too short for its label. */
int traffic_init(struct traffic *traffic, const struct traffic_options *options);
void traffic_fini(struct traffic *traffic);
/* The longest frame that is made. */
uint32_t traffic_max_len(const struct traffic *traffic);

/* The sender's end of a flow. */
struct traffic_flow {
	const struct traffic *traffic;
	uint16_t id;
	uint64_t next; /* number of the next cell */
	unsigned int turn;
	uint8_t heads[TRAFFIC_SIZES_MAX][TRAFFIC_HEAD_MAX];
};
void traffic_flow_init(struct traffic_flow *flow, const struct traffic *traffic, uint16_t id,
		       const uint8_t src[6], const uint8_t dst[6]);
/* Writes the flow's next frame to buf. Its length; ret_hdr says what is asked of the device. */
uint32_t traffic_make(struct traffic_flow *flow, uint8_t *buf, struct vhu_net_hdr *ret_hdr);

enum traffic_verdict {
	TRAFFIC_OURS,
	TRAFFIC_FOREIGN, /* none of ours */
	TRAFFIC_CORRUPT, /* ours, and changed on its way */
};
struct traffic_cell {
	uint32_t run;
	uint16_t flow;
	uint64_t seq;
	bool has_pattern; /* its sender wrote one: all of its bytes can be checked */
};
typedef void traffic_cell_fn(void *arg, const struct traffic_cell *cell);
/* Judges a frame that came, and calls fn for each good cell in it. */
enum traffic_verdict traffic_check(const struct traffic *traffic, const struct vhu_net_frame *frame,
				   traffic_cell_fn *fn, void *arg);

#endif
