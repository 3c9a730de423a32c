/* SPDX-License-Identifier: MIT */
/*
 * Follows the rings of one connection: their states, and the five steps of the notification path.
 * It sees messages and the time and nothing else.
 *
 * Steps 1, 3 and 5 are messages. Steps 2 and 4 happen inside the backend and are inferred from what
 * it does on the socket, where it handles messages in their order: its acknowledgement, its reply
 * to a later message, or, where no reply comes, that it has read the message.
 */
#ifndef TRACE_STEPS_H
#define TRACE_STEPS_H

#include "trace/record.h"

struct steps_ring {
	bool seen;
	bool started, enabled;
	bool absent;		     /* step 5 has been given up */
	bool ready;		     /* said to be ready */
	uint64_t call_seq, kick_seq; /* messages whose effect is not yet proven; 0: none */
	uint64_t ns[TRACE_STEPS + 1];
};

struct steps {
	trace_emit_fn *emit;
	void *arg;
	bool enabled_from_birth; /* SET_FEATURES without PROTOCOL_FEATURES */
	bool driver_ok;		 /* said, or inferred */
	bool driver_ok_said;
	unsigned int nr_started;
	struct steps_ring rings[VHU_MAX_RINGS];
};

/* A request that has been replied to. */
struct steps_request {
	uint32_t request;
	uint64_t seq;
	int ring; /* -1: none */
	uint32_t num;
};

/* A new connection. */
void steps_begin(struct steps *steps, trace_emit_fn *emit, void *arg);
/* A request of the frontend has been passed on; seq counts them from 1. */
void steps_on_request(struct steps *steps, const struct vhu_msg *msg, uint64_t seq,
		      uint64_t now_ns);
/* It has been replied to. */
void steps_on_reply(struct steps *steps, const struct steps_request *request,
		    const struct vhu_msg *reply, uint64_t now_ns);
/* Time has gone by; all_read: the backend has read whatever was sent to it. */
void steps_on_time(struct steps *steps, bool all_read, uint64_t now_ns);
/* True if steps_on_time() is to be called in STEPS_TICK_MS. */
bool steps_wait_for_time(const struct steps *steps);

enum {
	STEPS_TICK_MS = 50,
	STEPS_REPLY_MS = 100,	/* this long a reply is waited for before less will do */
	STEPS_UNMASK_MS = 1000, /* "still while starting" */
};

#endif
