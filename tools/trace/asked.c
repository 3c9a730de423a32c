/* SPDX-License-Identifier: MIT */
/* Requests that wait for their replies; knows nothing of sockets or of what requests do. */
#include "trace/asked.h"

#include <string.h>

static void drop_first(struct asked *asked, unsigned int nr)
{
	asked->nr -= nr;
	memmove(asked->list, asked->list + nr, asked->nr * sizeof(asked->list[0]));
}

void asked_add(struct asked *asked, enum vhu_channel channel, const struct vhu_msg *msg,
	       uint64_t seq, uint64_t now_ns)
{
	if (asked->nr == ASKED_MAX)
		drop_first(asked, 1);
	asked->list[asked->nr++] = (struct asked_one){
		.request = msg->hdr.request,
		.num = msg->state.num,
		.ring = vhu_wire_ring(channel, msg),
		.seq = seq,
		.time_ns = now_ns,
	};
}

bool asked_take(struct asked *asked, uint32_t request, struct asked_one *ret_one,
		unsigned int *ret_skipped)
{
	for (unsigned int i = 0; i < asked->nr; i++) {
		if (asked->list[i].request != request)
			continue;
		*ret_one = asked->list[i];
		*ret_skipped = i;
		drop_first(asked, i + 1);
		return true;
	}
	return false;
}
