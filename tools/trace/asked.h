/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait for their replies, in order, and the reply found its request. It knows
 * nothing of sockets or of what requests do.
 */
#ifndef TRACE_ASKED_H
#define TRACE_ASKED_H

#include <stdbool.h>
#include <vhu/wire.h>

enum {
	ASKED_MAX = 64
};

struct asked_one {
	uint32_t request;
	uint32_t num;
	int ring; /* -1: none */
	uint64_t seq;
	uint64_t time_ns;
	bool said; /* that it waits long */
};

struct asked {
	unsigned int nr;
	struct asked_one list[ASKED_MAX]; /* the oldest first */
};

/* The oldest is forgotten if there are too many. */
void asked_add(struct asked *asked, enum vhu_channel channel, const struct vhu_msg *msg,
	       uint64_t seq, uint64_t now_ns);
/*
 * The request that this reply belongs to, taken out; those before it will get none, and are left
 * out too: ret_skipped. False: nobody asked.
 */
bool asked_take(struct asked *asked, uint32_t request, struct asked_one *ret_one,
		unsigned int *ret_skipped);

#endif
