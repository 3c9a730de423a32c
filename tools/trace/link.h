/* SPDX-License-Identifier: MIT */
/*
 * Two sockets joined: what comes in at one end goes out at the other, one message at a time. It
 * knows nothing of what the messages mean.
 */
#ifndef TRACE_LINK_H
#define TRACE_LINK_H

#include <vhu/sock.h>

#include "common/loop.h"
#include "trace/record.h"

struct link;

struct link_end {
	struct link *link;
	enum trace_side side;
	struct vhu_sock *sock;
	struct loop_source *source; /* NULL: not watched now */
	uint64_t partial_ns;	    /* since when a message has been incomplete; 0: none is */
	bool partial_said;
};

struct link_ops {
	/* A message came in: it may be changed, and is passed on if this is true. */
	bool (*message)(struct link *link, enum trace_side side, struct vhu_msg *msg);
	/* It has been passed on; its fds are closed behind this. */
	void (*passed)(struct link *link, enum trace_side side, const struct vhu_msg *msg);
	/* This side has gone or cannot be followed, and the other has what came. May free. */
	void (*ended)(struct link *link, enum trace_side side, const char *reason);
};

struct link {
	struct loop *loop;
	const struct link_ops *ops;
	enum vhu_channel channel;
	struct link_end ends[2];   /* [enum trace_side] */
	struct loop_source *timer; /* runs while one side is still given what the other left */
	bool is_ending;
	enum trace_side ended_by;
	struct vhu_reason reason;
};

/* Both sockets are taken, also on failure. 0 or -errno. */
int link_open(struct link *link, struct loop *loop, enum vhu_channel channel,
	      const struct link_ops *ops, int take_frontend_fd, int take_backend_fd);
void link_close(struct link *link);
static inline bool link_is_open(const struct link *link)
{
	return link->ends[0].sock != NULL;
}
/* True if that side has read all that was sent to it, as far as the kernel knows. */
bool link_all_read(const struct link *link, enum trace_side side);

#endif
