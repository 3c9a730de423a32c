/* SPDX-License-Identifier: MIT */
/* Announces stations that have come to a port; see announce.c. */
#ifndef SW_ANNOUNCE_H
#define SW_ANNOUNCE_H

#include "switch/forward.h"
#include "switch/port.h"

/*
 * A worker, online: announces the station that the queue's port has to announce, if any. True if
 * there is more of that to do: the other queues come first.
 */
bool sw_announce(struct sw_forward *fwd, const struct sw_view *view, struct sw_queue *queue);

#endif
