/* SPDX-License-Identifier: MIT */
/*
 * Where frontends and backends come from: listens, connects, tries again, and starts a relay when
 * both are there. It knows nothing of messages.
 *
 * The backend comes first: a frontend that finds nobody behind us would wait for its first reply,
 * and a VMM does that with the whole machine standing still. So a frontend's socket takes
 * connections exactly while there is a backend, as if it were the backend's own.
 */
#ifndef TRACE_PROXY_H
#define TRACE_PROXY_H

#include "common/loop.h"
#include "trace/record.h"

struct proxy;

struct proxy_end {
	bool listens; /* or connects */
	const char *path;
};

struct proxy_options {
	struct loop *loop;
	struct proxy_end ends[2]; /* [enum trace_side]; borrowed */
	uint64_t start_ns;
	trace_emit_fn *emit;
	void *arg;
};

/* Makes the listening sockets. -errno: *ret_path cannot be listened on. */
int proxy_new(struct proxy **ret_proxy, const struct proxy_options *options, const char **ret_path);
/* Looks for the two, from now on. */
void proxy_start(struct proxy *proxy);
/* Closes everything and removes the socket files. NULL is allowed. */
void proxy_free(struct proxy *proxy);

#endif
