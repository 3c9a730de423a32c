/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of packed rings for tests. It talks through a struct drv, whose split rings then
 * lend their eventfds and nothing else; it can put any descriptor at any place.
 */
#ifndef TESTS_PAIR_DRIVER_PACKED_H
#define TESTS_PAIR_DRIVER_PACKED_H

#include "driver.h"

enum {
	DP_AVAIL = 1 << 7,
	DP_USED = 1 << 15,
	DP_WRAP = 1 << 15,
	DP_FRESH = 0x8000, /* a position: index 0, wrap counter 1 */

	DP_ENABLE = 0,
	DP_DISABLE = 1,
	DP_DESC = 2,
};

struct dp_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

struct dp_ring {
	struct drv *drv;
	unsigned int index;
	uint32_t num;
	uint64_t desc_gpa, driver_gpa, device_gpa;
	struct dp_desc *desc;
	uint32_t *driver, *device; /* off_wrap, flags */
	bool event_idx, in_order;

	uint16_t avail, used; /* positions */
	uint16_t kicked;      /* avail at the last decision about a kick */
	uint32_t nr_free;     /* places */

	/* by id; ids are given out in an order that is not that of the places */
	uint16_t *nr_chain, *free_id;
	uint32_t *room, *token;
	uint32_t nr_ids;
	/* ids in the order of available, for used entries that stand for several */
	uint16_t *fifo;
	uint64_t fifo_in, fifo_out;
	uint32_t in_batch; /* chains of a batch that are still to be told */

	uint64_t buf_gpa, table_gpa; /* one buffer for each id, of room for DP_BUF bytes */
	uint64_t kicks, kicks_saved;
};

enum {
	DP_BUF = 2048,
	DP_TABLE = DRV_MAX_SEGS * sizeof(struct dp_desc),
};

void dp_init(struct dp_ring *ring, struct drv *drv, unsigned int index, uint32_t num);
void dp_free(struct dp_ring *ring);
/* The ring memory begins anew. */
void dp_reset(struct dp_ring *ring);

/* NUM, BASE, ADDR, KICK, CALL. */
void dp_start_ring(struct dp_ring *ring, uint32_t base);
void dp_fill_addr(const struct dp_ring *ring, struct vhu_vring_addr *ret_addr);
uint32_t dp_stop_ring(struct dp_ring *ring);
/*
 * Negotiates, with RING_PACKED and all else that is offered but LOG_ALL, IN_ORDER and what is in
 * without (IN_ORDER only if with says so), and starts rings 0 and 1, enabled.
 */
void dp_start(struct drv *drv, struct dp_ring rings[2], uint32_t num, uint64_t with,
	      uint64_t without);

/* The position n places later. */
uint16_t dp_advance(uint16_t pos, uint32_t n, uint32_t num);
/* Any descriptors as they are, AVAIL and USED as they have to be. Nothing is noted. */
void dp_put_raw(struct dp_ring *ring, const struct dp_desc *descs, unsigned int nr);
/* A chain. Its id, or -ENOSPC. */
int dp_put(struct dp_ring *ring, const struct drv_seg *segs, unsigned int nr, uint32_t token);
int dp_put_indirect(struct dp_ring *ring, const struct drv_seg *segs, unsigned int nr,
		    uint32_t token);
/* Forgets a descriptor of dp_put_raw(), which came back: skips nr places. */
void dp_skip_used(struct dp_ring *ring, unsigned int nr);
/* 1: the next chain that was used. 0: none. -EPROTO: what is there cannot be. */
int dp_pop(struct dp_ring *ring, uint32_t *ret_token, uint32_t *ret_len);
bool dp_has_used(const struct dp_ring *ring);
/* The descriptor at a position as it stands. */
struct dp_desc dp_at(const struct dp_ring *ring, uint16_t pos);

bool dp_kick(struct dp_ring *ring);
void dp_kick_always(struct dp_ring *ring);
void dp_set_event(struct dp_ring *ring, uint16_t off_wrap, uint16_t flags);
/* Calls from the next used one on, or none. */
void dp_want_calls(struct dp_ring *ring, bool want);
uint64_t dp_calls(struct dp_ring *ring);
/* off_wrap in the lower half, flags in the upper. */
uint32_t dp_device_event(const struct dp_ring *ring);

/* A frame to be transmitted, in nr_cut + 1 pieces; not kicked. The id, or -ENOSPC. */
int dp_net_add(struct dp_ring *ring, const void *frame, size_t len,
	       const struct drv_layout *layout);
/* Takes back what was transmitted. The count. */
unsigned int dp_net_reap(struct dp_ring *ring);
/* Empty buffers of size bytes, as many as there is room for, at most max. */
unsigned int dp_net_fill(struct dp_ring *ring, unsigned int max, uint32_t size);
/* 1: a whole frame. 0: none. Negative: cannot be. */
int dp_net_receive(struct dp_ring *ring, uint8_t *frame, size_t room, size_t *ret_len);

#endif
