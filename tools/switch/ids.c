// SPDX-License-Identifier: MIT
/* A list of names made longer; what they name it knows not. */

#include "switch/ids.h"

#include <stdlib.h>

bool sw_ids_grow(struct sw_ids *ids)
{
	uint32_t places = ids->id ? (ids->mask + 1) * 2 : 64;
	uint64_t *more = calloc(places, sizeof(*more));

	if (!more)
		return false;
	for (uint32_t i = ids->head; i != ids->tail; i++)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without id head is tail */
		more[i & (places - 1)] = ids->id[i & ids->mask];
	free(ids->id);
	ids->id = more;
	ids->mask = places - 1;
	return true;
}
