/* SPDX-License-Identifier: MIT */
/*
 * A ring with its in-flight region as it lies in memory that outlives a backend, a driver that
 * returns nothing but in order, and a backend's data side upon it without anything around.
 */
#ifndef TESTS_UNIT_INFLIGHT_WORLD_H
#define TESTS_UNIT_INFLIGHT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ring/record.h>

enum {
	NUM = 8,
	HISTORY = 512,
	DATA_GPA = 0x10000,
	REGION = 320, /* bytes that the larger layout takes */
};

/* What outlives a backend: region, ring, and what the driver remembers. */
struct world {
	_Alignas(64) uint8_t region[REGION];
	_Alignas(64) struct vhu_desc desc[NUM];
	_Alignas(64) uint16_t avail[2 + NUM + 1];
	_Alignas(64) uint16_t used[2 + 4 * NUM + 1];
	_Alignas(64) struct vhu_packed_desc ring[NUM];
	uint32_t driver_event, device_event;
	uint8_t data[16 * NUM];
	/* chains in the order in which they were made available */
	uint16_t id[HISTORY], nr[HISTORY];
	uint32_t made, reaped;
	bool making; /* the next may be available or not */
};

struct backend {
	struct vhu_queue q;
	struct vhu_view view;
	struct vhu_mem *mem;
	struct vhu_mapping mapping;
	struct vhu_inflight_area area;
	bool poisoned;
	uint32_t run;
};

/* Adds a chain of the driver's, available. False: there is no room. */
bool world_make(struct world *w, bool packed);
/* Takes back what is used; each has to be the oldest that is outstanding. False: it is not. */
bool world_reap(struct world *w, bool packed);
/* How many chains have been made available, if that was interrupted too. */
uint32_t world_made(const struct world *w, bool packed);

/* A backend begins on the ring and its region; region: NULL or another place that it lies in. */
int backend_begin(struct backend *be, struct world *w, uint8_t *region, bool packed,
		  struct vhu_reason *why);
/* It dies: nothing is tidied up but its own memory. */
void backend_die(struct backend *be);
/* Takes a chain: its id; -1: none; -2: the ring is broken; -3: it is not as the driver made it. */
int backend_take(struct backend *be);

#endif
