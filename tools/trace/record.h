/* SPDX-License-Identifier: MIT */
/*
 * One record of what was seen, as it goes from the relay and the steps to whoever shows it. It
 * knows nothing of how it is shown.
 */
#ifndef TRACE_RECORD_H
#define TRACE_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <vhu/trace.h>

enum trace_kind {
	TRACE_MESSAGE,	   /* side, channel, msg, is_reply, fds, us, text: the rule it breaks */
	TRACE_WAITING,	   /* side: who is waited for; text */
	TRACE_CONNECTED,   /* text */
	TRACE_CLOSED,	   /* side: who ended it; text: the reason */
	TRACE_STEP,	   /* ring, step, inferred, us, text */
	TRACE_STEP_ABSENT, /* ring, step, text */
	TRACE_DRIVER_OK,   /* inferred, text */
	TRACE_RING_STATE,  /* ring, from, to */
	TRACE_RING_READY,  /* ring, steps_ns */
	TRACE_NOTE,	   /* ring or -1, text */
};

/* Who did it, or whose socket it is. */
enum trace_side {
	TRACE_FRONTEND,
	TRACE_BACKEND,
	TRACE_PROXY,
};

enum {
	TRACE_STEPS = 5, /* "The notification path": steps 1 to 5 */
	TRACE_FD_TEXT = 96,
};

struct trace_record {
	enum trace_kind kind;
	uint64_t time_ns;  /* since the start */
	unsigned int conn; /* 0: there has been none */
	enum trace_side side;
	const char *text; /* NULL: none */

	enum vhu_channel channel;
	const struct vhu_msg *msg;
	bool is_reply;
	const char (*fds)[TRACE_FD_TEXT]; /* msg->nr_fds texts */
	int64_t us;			  /* since the request, or since the step's message; -1 */

	int ring; /* -1: none */
	int step; /* 0: none */
	bool inferred;
	enum vhu_ring_state from, to;
	const uint64_t *steps_ns; /* [step]: when it was seen; 0: not */
};

/* Time and conn are filled in by whoever is called. */
typedef void trace_emit_fn(void *arg, struct trace_record *record);

#endif
