/* SPDX-License-Identifier: MIT */
/* A ring of either layout whose chains are put and pulled by the test, and frames to be pushed. */
#ifndef TESTS_PAIR_PLAIN_FIXTURE_H
#define TESTS_PAIR_PLAIN_FIXTURE_H

#include "packed_fixture.h"

enum {
	PLAIN_HDR = 12,
	PLAIN_ROOM = 4096, /* for a frame */
	PLAIN_FRAMES = 100,
};

/* The ring under test, of one of two layouts. */
struct plain_lane {
	struct drv_ring *split;
	struct dp_ring *packed;
	struct vhu_queue *queue;
};

extern struct plain_lane plain;
extern uint8_t plain_bytes[PLAIN_FRAMES][PLAIN_ROOM];
extern struct vhu_net_frame plain_frame[PLAIN_FRAMES];
extern const struct vhu_net_frame *plain_ptrs[PLAIN_FRAMES];

/* A pair that runs, whose rings nobody looks at; ring number index of it is the one under test. */
void plain_begin(void **state, bool packed, unsigned int index, uint32_t num, uint64_t with);
/* Frame number i: its beginning is a copy, and its rest lies in two places. */
void plain_frame_make(unsigned int i, uint32_t len, uint32_t number);

#endif
