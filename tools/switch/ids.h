/* SPDX-License-Identifier: MIT */
/* A first-in first-out list of names that grows; it knows not of what. One thread. */
#ifndef SW_IDS_H
#define SW_IDS_H

#include <stdbool.h>
#include <stdint.h>

struct sw_ids {
	uint64_t *id;
	uint32_t mask; /* places less one; a power of two less one */
	uint32_t head, tail;
};

static inline bool sw_ids_are_empty(const struct sw_ids *ids)
{
	return ids->head == ids->tail;
}

/* Makes room for one more. False: there is no memory for it. */
bool sw_ids_grow(struct sw_ids *ids);

static inline bool sw_ids_put(struct sw_ids *ids, uint64_t id)
{
	if ((!ids->id || ids->tail - ids->head > ids->mask) && !sw_ids_grow(ids))
		return false;
	ids->id[ids->tail++ & ids->mask] = id;
	return true;
}

/* Not of an empty list. */
static inline uint64_t sw_ids_take(struct sw_ids *ids)
{
	return ids->id[ids->head++ & ids->mask];
}

#endif
