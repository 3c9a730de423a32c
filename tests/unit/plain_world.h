/* SPDX-License-Identifier: MIT */
/*
 * A ring of either layout in plain memory, its queue on the device's side, and a driver that puts
 * chains of whatever kind into it. It knows no test.
 */
#ifndef TESTS_UNIT_PLAIN_WORLD_H
#define TESTS_UNIT_PLAIN_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <mem/table.h>
#include <ring/ring.h>

enum {
	PW_MEM_SIZE = 8 << 20,
	PW_HOLE_GPA = PW_MEM_SIZE + 4096, /* nothing is there */
	PW_HDR_LEN = 12,
	PW_PIECES_MAX = 4,
	PW_BUFFER_MAX = 4096,
	PW_TABLES_GPA = 1 << 20,
	PW_BUFFERS_GPA = (2 << 20) - 64, /* one of the buffers crosses from region to region */
	PW_GAP = 4096,			 /* between the regions, in our address space */
	PW_NR_BUFFERS = 1024,
};

/* What the driver made available and has not got back. */
struct plain_made {
	uint16_t id;
	uint32_t nr_desc, nr_pieces, len;
	struct vhu_desc piece[PW_PIECES_MAX];
	bool is_bad;	/* to be refused */
	uint32_t frame; /* transmit: its number */
};

struct plain_world {
	uint8_t *bytes;
	struct vhu_mem *mem;
	struct vhu_queue q;
	struct vhu_view view;
	bool packed, poisoned;
	uint64_t random;
	uint32_t num, next_id, next_buffer;
	/* where the driver stands */
	uint32_t avail, used, avail_at;
	bool avail_wrap;
	struct plain_made fifo[256];
	uint32_t fifo_in, fifo_out, nr_desc_out;
	uint32_t sent, received;
};

struct plain_world *pw_new(bool packed, uint32_t num, uint64_t features, bool receive);
void pw_free(struct plain_world *w);
uint32_t pw_pick(struct plain_world *w, uint32_t below);
/* Where a guest address lies. */
uint8_t *pw_at(struct plain_world *w, uint64_t gpa);
/* The address of the next of PW_NR_BUFFERS buffers, PW_BUFFER_MAX bytes each. */
uint64_t pw_buffer(struct plain_world *w);
/*
 * Makes a chain of nr pieces available, as it is or through a table; id, next and NEXT are set. How
 * many descriptors of the ring it takes.
 */
uint32_t pw_put(struct plain_world *w, struct vhu_desc *list, uint32_t nr, bool indirect);

#endif
