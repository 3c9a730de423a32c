/* SPDX-License-Identifier: MIT */
/*
 * One frontend and one backend that are connected: passes each message on, fds and all, and tells
 * of it. It knows nothing of where the sockets came from, nor of how records are shown.
 *
 * Nothing is held back or changed but one thing: the fd of SET_BACKEND_REQ_FD, so that the
 * backend's channel goes through here too. A side that does not read is not read for, so at most
 * one message in each direction waits here.
 */
#ifndef TRACE_RELAY_H
#define TRACE_RELAY_H

#include "common/loop.h"
#include "trace/record.h"

struct relay;

struct relay_options {
	struct loop *loop;
	int take_frontend_fd;
	int take_backend_fd;
	uint64_t start_ns;   /* what times count from */
	trace_emit_fn *emit; /* conn is not filled in */
	/* It is over; the relay may be freed in here. is_fruitful: the backend said something. */
	void (*ended)(void *arg, bool is_fruitful);
	void *arg;
};

/* 0 or -errno; the fds are taken in any case. */
int relay_new(struct relay **ret_relay, const struct relay_options *options);
/* NULL is allowed. */
void relay_free(struct relay *relay);
/* The program ends: says so in the last record. */
void relay_stop(struct relay *relay);

#endif
