/* SPDX-License-Identifier: MIT */
/*
 * Bytes to an fd that others may have, too, without ever blocking: what cannot be written now is kept,
 * up to a limit, and written when it can. Knows nothing of what the bytes say.
 */
#ifndef VM_OUTLET_H
#define VM_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/loop.h"

struct outlet;

/* fd is borrowed. size: how many bytes are kept. drained: there is room again, after it was full; may be
 * NULL. 0 or -errno. */
int outlet_new(struct outlet **ret_outlet, struct loop *loop, int fd, size_t size,
	       void (*drained)(void *arg), void *arg);
/* Waits for who reads, but never long for one who does not. False: something is left. */
bool outlet_drain(struct outlet *outlet);
/* Drains it. NULL is allowed. */
void outlet_free(struct outlet *outlet);

/* Bytes that it takes now. */
size_t outlet_room(const struct outlet *outlet);
/* At most that many; what is more is lost. */
void outlet_put(struct outlet *outlet, const void *data, size_t len);

#endif
